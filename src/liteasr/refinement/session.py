"""Label-free refinement: the reduced encoder learns to say what the original one says."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from liteasr.corpus import Corpus
from liteasr.encoders import EncoderInput, adapter_for, encoder_fingerprint
from liteasr.errors import RefinementError
from liteasr.progress import Track, silent
from liteasr.refinement.config import RefinementConfig
from liteasr.refinement.objective import Objective
from liteasr.refinement.report import RefinementReport
from liteasr.refinement.state import RefinementState
from liteasr.refinement.windows import TrainingWindows, held_out_windows
from liteasr.sources import SpeechModel

__all__ = ["refine_"]

log = logging.getLogger(__name__)

WARM_UP = 0.05  # of the steps
NATIVE_BFLOAT16 = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def refine_(
    speech: SpeechModel,
    original: SpeechModel,
    corpus: Corpus,
    config: RefinementConfig | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    track: Track = silent,
) -> RefinementReport:
    """Train a reduced encoder, in place, to put out what the original one does on any audio.

    AdamW with a cosine schedule on the error that `Objective` describes. No labels are used, and
    the decoder does not run. A part of the audio is held out; the weights with the least error
    there are kept, those before the first step included, so that it never ends worse than it
    began. With a ``path`` the state is saved there now and then: an interrupted run goes on
    exactly where it was when called again, and the file is removed at the end.

    Args:
        speech: The reduced model; its encoder is changed.
        original: The model it was made from; not changed.
        corpus: Unlabelled audio, two utterances or more.
        config: Settings.
        path: Where the state is kept while it runs.
        track: Shows progress.

    Raises:
        AudioError: A recording cannot be read.
        RefinementError: The corpus is too small, the loss is NaN or Inf, or ``path`` belongs to
            another refinement.
        UnsupportedModelError: No adapter knows the encoder.
    """
    config = config or RefinementConfig()
    run = _Run(speech, original, corpus, config)
    state_file = None if path is None else Path(path)
    with run.training():
        state = run.begin(state_file)
        try:
            for _ in track(
                range(state.step, config.steps),
                description=state.summary,
                total=config.steps - state.step,
            ):
                run.step_(state)
                if run.must_stop(state):
                    break
                if state_file is not None and state.step % config.save_every == 0:
                    run.save(state, state_file)
        except BaseException:
            if state_file is not None and state.curve:
                run.save(state, state_file)
                log.warning("stopped at step %d; run again to go on", state.step)
            raise
        run.keep_best_(state)
    if state_file is not None:
        state_file.unlink(missing_ok=True)
    return run.report(state)


class _Run:
    """The parts of one refinement."""

    def __init__(
        self,
        speech: SpeechModel,
        original: SpeechModel,
        corpus: Corpus,
        config: RefinementConfig,
    ) -> None:
        if len(corpus) < 2:
            raise RefinementError(
                f"refinement needs 2 utterances or more, {corpus.origin} has {len(corpus)}: "
                "one part is held out"
            )
        self.speech, self.corpus, self.config = speech, corpus, config
        self.encoder = adapter_for(speech.model).encoder(speech.model)
        self.device = next(self.encoder.parameters()).device
        self.objective = Objective(original.model, block_weight=config.block_weight)
        self.task = {
            "model": encoder_fingerprint(speech.model),
            "original": encoder_fingerprint(original.model),
            "corpus": corpus.fingerprint(),
            **asdict(config),
        }
        self.windows, self.checks = self._parts(original)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.encoder.parameters() if p.requires_grad],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.started = time.monotonic()

    def begin(self, path: Path | None) -> RefinementState:
        """What an interrupted run left, or a first check."""
        if path is not None and path.is_file():
            state = RefinementState.resume_(path, self.encoder, self.optimizer, self.task)
            log.info("going on at step %d of %d", state.step, self.config.steps)
        else:
            state = RefinementState()
            state.check_(self.encoder, self._error())
        self.started = time.monotonic() - state.seconds
        return state

    def step_(self, state: RefinementState) -> None:
        """One update, and a check where one is due."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _schedule(state.step, self.config.steps)
        total = 0.0
        windows = [self.windows.draw(state.step, i) for i in range(self.config.batch_size)]
        for part in self._stacked(windows):
            loss, _ = self._compare(part)
            share = len(next(iter(part.values()))) / len(windows)
            (share * loss).backward()  # type: ignore[no-untyped-call]
            total += share * float(loss.detach())
        if not math.isfinite(total):
            raise RefinementError(
                f"the loss is {total} at step {state.step}: lower learning_rate "
                f"({self.config.learning_rate:g}), or use precision='float32'"
            )
        nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        state.step += 1
        state.losses.append(total)
        state.seconds = time.monotonic() - self.started
        if state.step % self.config.check_every == 0 or state.step == self.config.steps:
            state.check_(self.encoder, self._error())
            log.info(
                "step %d of %d: error %.4f on held-out audio, %.4f before",
                state.step,
                self.config.steps,
                state.curve[-1].held_out,
                state.curve[0].held_out,
            )

    def must_stop(self, state: RefinementState) -> bool:
        """Whether the last checks brought nothing."""
        after_best = len(state.curve) - 1 - state.curve.index(state.best_point)
        return self.config.patience is not None and after_best >= self.config.patience

    def keep_best_(self, state: RefinementState) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            for name, parameter in self.encoder.named_parameters():
                parameter.copy_(state.best[name])

    def save(self, state: RefinementState, path: Path) -> None:
        """Keep what is needed to go on."""
        state.save(path, self.encoder, self.optimizer, self.task)

    def report(self, state: RefinementState) -> RefinementReport:
        """What came of it."""
        best = state.best_point
        return RefinementReport(
            before=state.curve[0].held_out,
            after=best.held_out,
            best_step=best.step,
            steps=state.step,
            seconds=state.seconds,
            curve=tuple(state.curve),
            options=asdict(self.config),
            corpus=self.corpus.origin,
            corpus_sha256=self.task["corpus"],
        )

    @contextmanager
    def training(self) -> Iterator[None]:
        """Weights in float32 while they change, in their own type before and after."""
        kept = next(self.encoder.parameters()).dtype
        self.encoder.float()
        self.objective.teacher.float()
        try:
            yield
        finally:
            self.encoder.to(kept)

    def _parts(self, original: SpeechModel) -> tuple[TrainingWindows, list[EncoderInput]]:
        count = max(1, round(self.config.held_out * len(self.corpus)))
        held_out, rest = self.corpus.split(count, seed=self.config.seed)
        adapter, processor = adapter_for(original.model), original.processor
        length_s = adapter.window_s(processor)
        windows = TrainingWindows(
            rest,
            adapter,
            processor,
            window_s=length_s,
            positions=adapter.positions(self.encoder),
            seed=self.config.seed,
            short_share=self.config.short_share,
            augment=self.config.augment,
        )
        checks = held_out_windows(
            held_out, adapter, processor, window_s=length_s, seed=self.config.seed
        )
        return windows, checks

    def _error(self) -> float:
        with torch.no_grad():
            errors = [float(self._compare(window.tensors)[1]) for window in self.checks]
        return sum(errors) / len(errors)

    def _stacked(self, windows: list[EncoderInput]) -> list[dict[str, Tensor]]:
        """One batch where a GPU wants it and the lengths agree; on a CPU one window at a time."""
        names = windows[0].tensors.keys()
        alike = all(len({w.tensors[name].shape for w in windows}) == 1 for name in names)
        if self.device.type == "cpu" or not alike:
            return [window.tensors for window in windows]
        return [{name: torch.cat([w.tensors[name] for w in windows]) for name in names}]

    def _compare(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        moved = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        low = _low_precision(self.config.precision, self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            compared: tuple[Tensor, Tensor] = self.objective(self.encoder, moved)
        return compared


def _schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: a line up, then half a cosine down."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _low_precision(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # elsewhere bfloat16 is emulated, slower than float32
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in NATIVE_BFLOAT16)

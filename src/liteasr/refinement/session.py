"""Label-free refinement: the reduced encoder learns to say what the original one says."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from liteasr.atomic import require_writable
from liteasr.corpus import Corpus
from liteasr.encoders import adapter_for, encoder_fingerprint
from liteasr.errors import RefinementError, StorageError
from liteasr.pivoting import unpivoted_
from liteasr.progress import Track, silent
from liteasr.refinement.ahead import DrawnAhead, drawers_for
from liteasr.refinement.config import RefinementConfig
from liteasr.refinement.distances import Distances
from liteasr.refinement.material import divide, forcing_of, listen_, text_shares
from liteasr.refinement.metrics import metrics_of
from liteasr.refinement.mlps import fitted_in_turn
from liteasr.refinement.objective import Objective
from liteasr.refinement.schedule import share_of_peak
from liteasr.refinement.state import RefinementState
from liteasr.refinement.streams import WINDOWS, Mlp, Streams, reduced_mlps
from liteasr.refinement.weights import copies, exchanged_, in_training_, put_
from liteasr.refinement.windows import TrainingWindow
from liteasr.refinement_report import RefinementReport
from liteasr.sources import SpeechModel

__all__ = ["refine_"]

log = logging.getLogger(__name__)

WARM_UP = 0.05  # of the steps


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

    AdamW with a cosine schedule on the distance that `Objective` describes. What is checked and
    kept is the average of the weights over the last steps; a check that is worse than the best one
    puts that one's weights back and halves the learning rate from there on. No labels
    are used: the original model transcribes the audio once, and its decoder is held to that text
    after either encoder. A part of the audio is held out; the weights with the least error there
    are kept, those before the first step included, so that it never ends worse than it began. With
    a ``path`` the state is saved there now and then: an interrupted run goes on exactly where it
    was when called again, and the file is removed at the end. Whatever stops it leaves the model as
    it was.

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
        StorageError: ``path`` cannot be written.
        TranscriptionError: The original model does not know an utterance's language.
        UnsupportedModelError: No adapter knows the encoder.
    """
    config = config or RefinementConfig()
    if path is not None:
        require_writable(path)  # now, not after the first steps
    state_file = None if path is None else Path(path)
    with unpivoted_(speech.model, keep=True):
        return _refined(_Run(speech, original, corpus, config), state_file, track)


def _refined(run: _Run, state_file: Path | None, track: Track) -> RefinementReport:
    config = run.config
    with in_training_(run.encoder, run.original.model), closing(run):
        state = run.begin(state_file)
        try:
            run.listen_(state, track)
            run.fit_mlps_(state, track)
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
        except RefinementError:
            raise  # the same steps would end in the same way
        except BaseException:
            if state_file is not None:
                run.keep(state, state_file)
            raise
        put_(run.encoder, state.best)
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
        self.original, self.corpus, self.config = original, corpus, config
        self.adapter = adapter_for(speech.model)
        self.encoder = self.adapter.encoder(speech.model)
        self.teacher = self.adapter.encoder(original.model)
        self.forcing = forcing_of(original) if config.divergence_weight else None
        objective = Objective(
            original.model,
            block_weight=config.block_weight,
            divergence_weight=config.divergence_weight,
            attended_weight=config.attended_weight,
            forcing=self.forcing,
        )
        self.distances = Distances(objective, self.encoder, precision=config.precision)
        self.task = {
            "model": encoder_fingerprint(speech.model),
            "original": encoder_fingerprint(original.model),
            "corpus": corpus.fingerprint(),
            **asdict(config),
        }
        self.optimizer = torch.optim.AdamW(
            [p for p in self.encoder.parameters() if p.requires_grad],
            weight_decay=config.weight_decay,
        )
        self.windows: DrawnAhead | None = None
        self.started = time.monotonic()

    def close(self) -> None:
        """Draw no more windows."""
        if self.windows is not None:
            self.windows.close()

    def begin(self, path: Path | None) -> RefinementState:
        """What an interrupted run left, or a start."""
        if path is not None and path.is_file():
            state = RefinementState.resume_(path, self.encoder, self.optimizer, self.task)
            log.info("going on at step %d of %d", state.step, self.config.steps)
        else:
            state = RefinementState.start(self.encoder)
        self.started = time.monotonic() - state.seconds
        return state

    def listen_(self, state: RefinementState, track: Track) -> None:
        """What the original says of all audio, the windows made of it, and the check due there."""
        listen_(state.pieces, self.corpus, self.original, self.forcing, self.config, track)
        self.drawn, self.checks = divide(
            state.pieces, self.corpus, self.original, self.forcing, self.config
        )
        self.windows = DrawnAhead(
            self.drawn.draw,
            batch_size=self.config.batch_size,
            steps=self.config.steps,
            drawers=drawers_for(self.distances.device),
        )
        self.check_(state)

    def fit_mlps_(self, state: RefinementState, track: Track) -> None:
        """Every reduced MLP alone, once, before the first step; kept if a check says so."""
        mlps = reduced_mlps(self.adapter, self.encoder, self.teacher)
        if state.step or len(state.curve) > 1 or not (mlps and self.config.mlp_steps):
            return
        if len(state.fitted) < len(mlps):
            entering = (window.input for window, _ in self._windows("What enters MLPs", track))
            streams = Streams(self.adapter, self.encoder, self.teacher, entering)
            heard = self._windows("Which errors are heard", track)
            metrics = metrics_of(mlps, self.original, self.forcing, heard)
            turns = fitted_in_turn(streams, mlps, metrics, state.fitted, self.config, track)
            for site, weights in turns:
                with state.changing():
                    Mlp(self.encoder, site).load_state_dict(weights)
                    state.fitted.append(site.first)
                    state.average = copies(self.encoder)
        self.note_check_(state)

    def _windows(
        self, description: str, track: Track
    ) -> Iterable[tuple[TrainingWindow, str | None]]:
        drawn = self.drawn.as_they_are(WINDOWS)
        return track(drawn, description=description, total=min(WINDOWS, len(self.drawn)))

    def step_(self, state: RefinementState) -> None:
        """One update, and a check where one is due."""
        assert self.windows is not None
        peak = self.config.peak(state.curve[0].held_out)
        share = share_of_peak(state.step, self.config.steps, warm_up=WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = peak * share / 2**state.setbacks
        total = 0.0
        windows = self.windows.of(state.step)
        shares = text_shares(windows, self.forcing)
        for part in self.distances.batches(windows):
            share = len(part) / len(windows)
            loss = self.distances.of(part, [shares.pop(0) / share for _ in part]).loss
            (share * loss).backward()  # type: ignore[no-untyped-call]
            total += share * float(loss.detach())
        if not math.isfinite(total):
            raise RefinementError(
                f"the loss is {total} at step {state.step}: lower learning_rate "
                f"({peak:g}), or use precision='float32'"
            )
        nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.gradient_clip)
        with state.changing():
            self.optimizer.step()
            state.step += 1
            state.average_(self.encoder)
            state.losses.append(total)
        self.optimizer.zero_grad()
        self.check_(state)

    def check_(self, state: RefinementState) -> None:
        """A check where one is due and was not made, also by a run that stopped just before it."""
        due = state.step % self.config.check_every == 0 or state.step == self.config.steps
        if due and not (state.curve and state.curve[-1].step == state.step):
            self.note_check_(state)

    def note_check_(self, state: RefinementState) -> None:
        """A check, whether one is due or not."""
        with exchanged_(self.encoder, state.average):
            held_out, kl = self.distances.held_out(self.checks)
        with state.changing():
            state.check_(self.encoder, held_out, kl)
        if len(state.curve) > 1:
            log.info(
                "step %d of %d: %.4f on held-out audio, %.4f before",
                state.step,
                self.config.steps,
                held_out,
                state.curve[0].held_out,
            )

    def must_stop(self, state: RefinementState) -> bool:
        """Whether the last checks brought nothing."""
        after_best = len(state.curve) - 1 - state.curve.index(state.best_point)
        return self.config.patience is not None and after_best >= self.config.patience

    def save(self, state: RefinementState, path: Path) -> None:
        """Save the state, with the time spent until now."""
        state.seconds = time.monotonic() - self.started
        state.save(path, self.encoder, self.optimizer, self.task)

    def keep(self, state: RefinementState, path: Path) -> None:
        """Save what a stopped run has; a disk that refuses must not hide why it stopped."""
        if state.torn:
            log.warning("stopped in the middle of an update; run again to go on from the last save")
            return
        try:
            self.save(state, path)
        except StorageError as error:
            log.warning("stopped at step %d, which cannot be kept: %s", state.step, error)
        else:
            log.warning("stopped at step %d; run again to go on from %s", state.step, path)

    def report(self, state: RefinementState) -> RefinementReport:
        """What came of it."""
        best = state.best_point
        return RefinementReport(
            before=state.curve[0].held_out,
            after=best.held_out,
            best_step=best.step,
            steps=state.step,
            seconds=time.monotonic() - self.started,
            curve=tuple(state.curve),
            options=asdict(self.config),
            corpus=self.corpus.origin,
            corpus_sha256=self.task["corpus"],
        )

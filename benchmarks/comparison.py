"""What the accuracy benchmarks share: one row per model, kept as it comes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import liteasr
from liteasr.artefacts import find_sensitivity, find_spectra
from liteasr.atomic import write_text
from liteasr.cli.screen import Screen
from liteasr.corpus import pieces
from liteasr.encoders import encoder_parameters
from liteasr.evaluation import evaluate, paired_bootstrap_interval
from liteasr.evaluation.error_rate import ErrorCounts
from liteasr.lowrank import Spectra
from liteasr.plan import Costs
from liteasr.refinement import RefinementConfig, refine_
from liteasr.runtime import RuntimeChoice, Transcriber
from liteasr.sensitivity import Sensitivity

__all__ = [
    "Comparison",
    "add_refinement",
    "looked_at",
    "on_device_",
    "refined",
    "refinement_config",
    "scores",
    "spectra_for",
    "with_more",
]

KL_CLIPS = 60
DECODING = "greedy, no fallback, no timestamps, language as the corpus says"


def looked_at(
    speech: liteasr.SpeechModel, calibration: liteasr.Corpus, moments: Path, screen: Screen
) -> tuple[liteasr.Calibration, Spectra, Sensitivity]:
    """Calibrate and probe, or find what an earlier run kept beside the moments."""
    made = liteasr.calibrate(
        speech,
        calibration,
        listen=liteasr.listener_of(speech),
        path=moments,
        track=screen.track,
    )
    spectra = find_spectra(speech, made, moments, track=screen.track)
    shuffled = calibration.sample(len(calibration))
    weights = find_sensitivity(speech, made, spectra, shuffled, moments, track=screen.track)
    return made, spectra, weights


def spectra_for(
    method: str, speech: liteasr.SpeechModel, made: liteasr.Calibration, spectra: Spectra
) -> Spectra:
    """Those that were found, or plain ones for the paper's rule."""
    if method != "paper":
        return spectra
    return liteasr.spectra_of(speech, made, units=False, weighed=False)


def refined(
    make: Callable[[], liteasr.CompressedModel],
    dense: liteasr.SpeechModel,
    audio: liteasr.Corpus,
    config: RefinementConfig,
    place: Path,
    screen: Screen,
    device: str = "cpu",
) -> liteasr.CompressedModel:
    """What `make` gives, refined; kept as a checkpoint, and found there by the next run."""
    if not place.is_dir():
        lite = make()
        state = place.with_name(f"{place.name}.state")
        with on_device_(device, lite.speech, dense):
            learned = refine_(lite.speech, dense, audio, config, path=state, track=screen.track)
        replace(lite, refinement=learned).save(place)
    return liteasr.load(place)


@contextmanager
def on_device_(device: str, *models: liteasr.SpeechModel) -> Iterator[None]:
    """Models on a device inside, on the CPU afterwards."""
    for speech in models:
        speech.model.to(device)
    yield
    for speech in models:
        speech.model.to("cpu")


def with_more(calibration: liteasr.Corpus, more: list[str]) -> liteasr.Corpus:
    """The calibration clips, and corpora of which nothing is scored."""
    added = [
        replace(piece, id=f"{ref}:{piece.id}")
        for ref in more
        for utterance in liteasr.load_corpus(ref)
        for piece in pieces(utterance)
    ]
    return replace(calibration, utterances=(*calibration, *added))


def add_refinement(parser: argparse.ArgumentParser) -> None:
    """The arguments that `refinement_config` reads, and the audio."""
    known = RefinementConfig()
    parser.add_argument("--refine-with", action="append", default=[], help="more unlabelled audio")
    parser.add_argument("--steps", type=int, default=known.steps)
    parser.add_argument("--mlp-steps", type=int, default=known.mlp_steps)
    parser.add_argument("--batch-size", type=int, default=known.batch_size)
    parser.add_argument("--learning-rate", type=float, default=known.learning_rate)
    parser.add_argument("--short-share", type=float, default=known.short_share)
    parser.add_argument("--no-augment", dest="augment", action="store_false")
    parser.add_argument("--refine-device", default="cpu", help="where the refinement computes")


def refinement_config(arguments: argparse.Namespace) -> RefinementConfig:
    """How to refine, as the arguments of the same names say."""
    names = {field.name for field in fields(RefinementConfig)}
    return RefinementConfig(**{k: v for k, v in vars(arguments).items() if k in names})


def scores(
    transcriber: Transcriber,
    scored: liteasr.Corpus,
    against: Mapping[str, Any] | None,
    screen: Screen,
    **options: Any,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What a transcriber gets wrong, by language, and with which versions.

    Args:
        transcriber: Decodes greedily.
        scored: Utterances with text.
        against: Scores of the same utterances that differences are taken to.
        screen: Shows progress.
        options: More `TranscriptionOptions`; whole windows where left out.
    """
    chosen = {"context": "off", "pooling": 1, **options}
    greedy = liteasr.TranscriptionOptions(temperature=(0.0,), timestamps=False, **chosen)
    report = evaluate(transcriber, scored, greedy, track=screen.track)
    found = {}
    for row in report.rows:
        mine = [u.counts for u in report.utterances if u.language == row.language]
        found[row.language] = {
            "rate": row.counts.rate,
            "interval_95": row.interval,
            "minus_dense_95": against and difference(mine, against[row.language]),
            "n": row.counts.n,
            "clip_mean_paper": row.mean_clip_rate,
            "counts": [asdict(counts) for counts in mine],
        }
    return found, dict(report.environment)


def difference(mine: list[ErrorCounts], other: Mapping[str, Any]) -> tuple[float, float]:
    """95 % of the difference of two rates on the same utterances."""
    return paired_bootstrap_interval(mine, [ErrorCounts(**counts) for counts in other["counts"]])


class Comparison:
    """Scores models on one corpus beside the dense one, row by row.

    Rows are written as they come: a run that was interrupted goes on after the last one.

    Args:
        dense: The model that all others were made from; not changed.
        scored: Utterances with text, of one language or several.
        path: JSON file of the results.
        screen: Shows progress.
        runtime: What transcribes: transformers, or the hybrid in float32.
        facts: What the results depend on; another run's file with other facts is refused.
    """

    def __init__(
        self,
        dense: liteasr.SpeechModel,
        scored: liteasr.Corpus,
        path: Path,
        screen: Screen,
        runtime: RuntimeChoice = "transformers",
        **facts: Any,
    ) -> None:
        self.dense, self.scored, self.path, self.screen = dense, scored, path, screen
        self.runtime = runtime
        self.reference = liteasr.dense_reference(
            dense, scored.sample(min(KL_CLIPS, len(scored))), track=screen.track
        )
        self.facts = {
            **facts,
            "model": dense.name,
            "scored": {"utterances": len(scored), "sha256": scored.fingerprint()},
            "decoding": f"{DECODING}, {runtime}",
        }
        self.rows: list[dict[str, Any]] = []
        self.environment: dict[str, str] = {}
        if path.is_file():
            found = json.loads(path.read_text())
            if found["facts"] != json.loads(json.dumps(self.facts)):
                raise SystemExit(f"{path} holds results of other data or settings: move it away")
            self.rows, self.environment = found["rows"], found["environment"]
        if not self.has("dense"):
            self.add("dense", dense, plan=None)

    def has(self, label: str) -> bool:
        """Whether a row is there already."""
        return any(row["label"] == label for row in self.rows)

    def add(
        self,
        label: str,
        model: liteasr.SpeechModel,
        plan: liteasr.RankPlan | None,
        *,
        started_from: liteasr.SpeechModel | None = None,
        **columns: Any,
    ) -> None:
        """Score a model, print its row and keep it.

        Args:
            label: Name of the row.
            model: The reduced model.
            plan: What was done to it.
            started_from: What the plan was made for, where that is not the dense model itself.
            columns: More to keep.
        """
        divergence = liteasr.measure_divergence(self.reference, model)
        row = {
            "label": label,
            "encoder_m": encoder_parameters(model.model) / 1e6,
            "kept": {
                unit: self._kept(plan, unit, started_from or self.dense)
                for unit in ("parameters", "flops")
            },
            "kl": divergence.mean_kl,
            "kl_interval_95": divergence.interval,
            **columns,
            "scores": self._scores(model),
        }
        shown = {lang: f"{score['rate']:.2%}" for lang, score in row["scores"].items()}
        print(label, f"{row['encoder_m']:.2f} M", f"KL {row['kl']:.4f}", shown, flush=True)
        self.rows.append(row)
        self._write()

    def amend(self, label: str, **columns: Any) -> None:
        """Give a row that is there already other columns."""
        for row in self.rows:
            if row["label"] == label:
                row.update(columns)
        self._write()

    def _write(self) -> None:
        result = {"facts": self.facts, "environment": self.environment, "rows": self.rows}
        write_text(self.path, json.dumps(result, indent=1) + "\n")

    def _kept(self, plan: liteasr.RankPlan | None, unit: Any, start: liteasr.SpeechModel) -> float:
        costs = Costs(unit=unit, model=start.model)
        return 1.0 if plan is None else costs.of(plan) / costs.whole

    def _scores(self, model: liteasr.SpeechModel) -> dict[str, Any]:
        dense = self.rows[0]["scores"] if self.rows else None
        found, self.environment = scores(self._transcriber(model), self.scored, dense, self.screen)
        return found

    def _transcriber(self, model: liteasr.SpeechModel) -> Transcriber:
        if self.runtime == "transformers":
            return liteasr.transcriber_for(model)
        return liteasr.transcriber_for(
            model, runtime=self.runtime, encoder="onnx", compute_type="float32"
        )

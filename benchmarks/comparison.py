"""What the accuracy benchmarks share: one row per model, kept as it comes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import liteasr
from liteasr.artefacts import find_sensitivity, find_spectra
from liteasr.atomic import write_text
from liteasr.cli.screen import Screen
from liteasr.encoders import encoder_parameters
from liteasr.evaluation import evaluate, paired_bootstrap_interval
from liteasr.evaluation.error_rate import ErrorCounts
from liteasr.lowrank import Spectra
from liteasr.plan import Costs
from liteasr.runtime import RuntimeChoice, Transcriber
from liteasr.sensitivity import Sensitivity

__all__ = ["Comparison", "looked_at"]

KL_CLIPS = 60
DECODING = "greedy, no fallback, no timestamps, language as the corpus says"


def looked_at(
    speech: liteasr.SpeechModel, calibration: liteasr.Corpus, moments: Path, screen: Screen
) -> tuple[liteasr.Calibration, Spectra, Sensitivity]:
    """Calibrate and probe, or find what an earlier run kept beside the moments."""
    made = liteasr.calibrate(speech, calibration, path=moments, track=screen.track)
    spectra = find_spectra(speech, made, moments, track=screen.track)
    shuffled = calibration.sample(len(calibration))
    weights = find_sensitivity(speech, made, spectra, shuffled, moments, track=screen.track)
    return made, spectra, weights


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
        if path.is_file():
            found = json.loads(path.read_text())
            if found["facts"] != json.loads(json.dumps(self.facts)):
                raise SystemExit(f"{path} holds results of other data or settings: move it away")
            self.rows = found["rows"]
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
        result = {"facts": self.facts, "environment": self.environment, "rows": self.rows}
        write_text(self.path, json.dumps(result, indent=1) + "\n")

    def _kept(self, plan: liteasr.RankPlan | None, unit: Any, start: liteasr.SpeechModel) -> float:
        costs = Costs(unit=unit, model=start.model)
        return 1.0 if plan is None else costs.of(plan) / costs.whole

    def _scores(self, model: liteasr.SpeechModel) -> dict[str, Any]:
        options = liteasr.TranscriptionOptions(
            temperature=(0.0,), timestamps=False, context="off", pooling=1
        )
        report = evaluate(self._transcriber(model), self.scored, options, track=self.screen.track)
        self.environment = dict(report.environment)
        scores = {}
        for row in report.rows:
            mine = [u.counts for u in report.utterances if u.language == row.language]
            scores[row.language] = {
                "rate": row.counts.rate,
                "interval_95": row.interval,
                "minus_dense_95": self._difference(row.language, mine),
                "n": row.counts.n,
                "clip_mean_paper": row.mean_clip_rate,
                "counts": [asdict(counts) for counts in mine],
            }
        return scores

    def _transcriber(self, model: liteasr.SpeechModel) -> Transcriber:
        if self.runtime == "transformers":
            return liteasr.transcriber_for(model)
        return liteasr.transcriber_for(
            model, runtime=self.runtime, encoder="onnx", compute_type="float32"
        )

    def _difference(self, language: str, mine: list[ErrorCounts]) -> tuple[float, float] | None:
        if not self.rows:
            return None
        dense = self.rows[0]["scores"][language]["counts"]
        return paired_bootstrap_interval(mine, [ErrorCounts(**counts) for counts in dense])

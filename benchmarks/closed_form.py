"""Closed forms that might beat the budgeted plan: what each does to the decoder's KL.

All methods start from one calibration and one probing, with the same number of encoder parameters.
A row is the KL per token on clips that none has seen, and its difference to the plain plan of that
size over the same clips, both with 95 % intervals; with --words also the WER on all clips that none
has seen. Rows are written as they come; run it again to go on.

    python benchmarks/closed_form.py --corpus CORPUS --corpus ... --methods plain fisher-positions
        --keep 0.85 0.7 0.5 --work DIR --output RESULTS.json

Methods: ``plain`` (probing, chains and heads); ``fisher-positions``, ``fisher-whole``,
``mixed-positions`` (other sensitivities, see fisher.py); ``metric`` (the plain plan's ranks,
components in the metric of Fisher); ``units`` (hidden units may go as well); ``weighed`` and
``weighed-units`` (errors in the metric of what is read; the latter is `liteasr compress --keep`);
``mlp-chains``, ``mlp-units``, ``mlp-both`` (attention dense, ``keep`` is of the MLPs);
``sequential:READERS:WRITERS:STREAM:MEANS`` (see sequential.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch
from comparison import scores

import liteasr
from liteasr.artefacts import find_sensitivity, find_spectra
from liteasr.atomic import write_text
from liteasr.cli.screen import Screen
from liteasr.compression import install_
from liteasr.corpus import parts
from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.evaluation.bootstrap import ratio_interval
from liteasr.lowrank import Spectra, allocate
from liteasr.plan import Costs, LayerPlan, RankPlan
from liteasr.plan.budget import _Menu  # chooses among the options of MLPs alone

Plans = Callable[[float], RankPlan]
MLP_FORMS = {
    "chains": {"dense", "chain"},
    "units": {"dense", "units_out", "units_in"},
    "both": {"dense", "chain", "units_out", "units_in"},
}


class Bench:
    """What all methods start from, made when it is first needed."""

    def __init__(self, arguments: argparse.Namespace, screen: Screen) -> None:
        self.arguments, self.screen = arguments, screen
        self.dense = self.fresh()
        refs, languages = arguments.corpus, arguments.languages
        self.calibrated, self.scored = parts(refs, languages, arguments.calibration)
        moments = arguments.work / f"{self.dense.name}.safetensors"
        self.calibration = liteasr.calibrate(
            self.dense, self.calibrated, path=moments, track=screen.track
        )
        self.moments = moments
        self.spectra, self.sensitivity = self.looked_at(weighed=False)
        self.adapter = adapter_for(self.dense.model)
        self.encoder: Any = self.adapter.encoder(self.dense.model)
        self.parameters = encoder_parameters(self.dense.model)

    def fresh(self) -> liteasr.SpeechModel:
        return liteasr.load_model(self.arguments.model)

    def looked_at(self, *, weighed: bool) -> tuple[Spectra, liteasr.Sensitivity]:
        """Spectra and sensitivities in one metric, kept apart from those in the other."""
        track, dense, made = self.screen.track, self.dense, self.calibration
        stem = self.moments.stem
        kept = self.moments.with_stem(f"{stem}-weighed" if weighed else f"{stem}-plain")
        spectra = find_spectra(dense, made, kept, weighed=weighed, track=track)
        shuffled = self.calibrated.sample(len(self.calibrated))
        return spectra, find_sensitivity(dense, made, spectra, shuffled, kept, track=track)

    @cached_property
    def weighed(self) -> tuple[Spectra, liteasr.Sensitivity]:
        return self.looked_at(weighed=True)

    @cached_property
    def reference(self) -> Any:
        sample = self.scored.sample(min(self.arguments.scored, len(self.scored)))
        return liteasr.dense_reference(self.dense, sample, track=self.screen.track)

    @cached_property
    def dense_words(self) -> dict[str, Any]:
        return self.words(self.dense, None)

    def words(self, speech: liteasr.SpeechModel, against: dict[str, Any] | None) -> dict[str, Any]:
        """What a model gets wrong by language, through the hybrid in float32."""
        transcriber = liteasr.transcriber_for(
            speech, runtime="faster-whisper", encoder="onnx", compute_type="float32"
        )
        return scores(transcriber, self.scored, against, self.screen)[0]

    @cached_property
    def fisher(self) -> Any:
        from fisher import fisher_of

        clips = self.calibrated.sample(min(24, len(self.calibrated)), seed=1)
        heard = liteasr.dense_reference(self.dense, clips, track=self.screen.track)
        return fisher_of(self.fresh(), self.spectra, heard)

    def plan(
        self, keep: float, sensitivity: liteasr.Sensitivity | None = None, *, units: bool = False
    ) -> RankPlan:
        weights = sensitivity or self.sensitivity
        config = liteasr.BudgetConfig(keep=keep, units=units)
        return liteasr.plan_ranks(self.dense, self.spectra, config, sensitivity=weights)

    def reduced(self, plan: RankPlan, spectra: Spectra | None = None) -> liteasr.SpeechModel:
        speech = self.fresh()
        liteasr.compress_(speech, plan, self.spectra if spectra is None else spectra)
        return speech


def made_by(bench: Bench, method: str, keep: float) -> liteasr.SpeechModel:
    """The encoder that a method makes."""
    if method == "plain":
        return bench.reduced(bench.plan(keep))
    if method.startswith("sequential:"):
        return sequential(bench, keep, method.split(":")[1:])
    if method == "metric":
        return metric(bench, keep)
    if method == "units":
        return bench.reduced(bench.plan(keep, units=True))
    if method in ("weighed", "weighed-units"):
        spectra, weights = bench.weighed
        config = liteasr.BudgetConfig(keep=keep, units=method == "weighed-units")
        plan = liteasr.plan_ranks(bench.dense, spectra, config, sensitivity=weights)
        return bench.reduced(plan, spectra)
    if method.startswith("mlp-"):
        return bench.reduced(mlp_plan(bench, keep, MLP_FORMS[method[4:]]))
    source, kind = method.split("-")
    weights = bench.fisher.sensitivity(kind, bench.sensitivity)
    if source == "mixed":
        from fisher import mixed

        weights = mixed(bench.sensitivity, weights)
    return bench.reduced(bench.plan(keep, weights))


def sequential(bench: Bench, keep: float, settings: list[str]) -> liteasr.SpeechModel:
    from sequential import Variant, sequential_

    readers, writers, stream, means = (float(value) for value in settings)
    variant = Variant(
        bench.fresh(),
        bench.plan(keep),
        readers=readers,
        writers=writers,
        stream=bool(stream),
        means=bool(means),
    )
    sequential_(bench.dense, [variant], bench.calibrated.sample(min(36, len(bench.calibrated))))
    return variant.speech


def mlp_plan(bench: Bench, keep: float, forms: set[str]) -> RankPlan:
    """The best choice of some forms for a share of the MLPs' weights; attention stays dense."""
    prices = Costs(unit="parameters", model=bench.dense.model)
    config = liteasr.BudgetConfig(keep=keep)
    menu = _Menu(prices, bench.spectra, bench.sensitivity, config)
    targets = {target.name: target for target in bench.adapter.targets(bench.encoder)}
    sites = menu.mlps(bench.adapter.mlps(bench.encoder))
    options = [menu.mlp(targets[site.first], targets[site.second]) for site in sites]
    parts = [
        [one for one in part if {layer.form for layer in one.pick} <= forms] for part in options
    ]
    weights = sum(t.parameter_count for t in targets.values() if t.group == "mlp")
    chosen = [layer for choice in allocate(parts, keep * weights) for layer in choice.pick]
    layers = {name: LayerPlan.of(target) for name, target in targets.items()}
    layers |= {layer.name: layer for layer in chosen}
    return RankPlan(model=bench.dense.name, rule="mlps", layers=tuple(layers.values()))


def metric(bench: Bench, keep: float) -> liteasr.SpeechModel:
    """The same plan; layers whose inputs were observed get components in the metric of Fisher."""
    from fisher import metric_factors

    from liteasr.nn import LowRankLinear

    plan = bench.plan(keep)
    speech = bench.reduced(plan)
    layers: dict[str, Any] = {}
    for target in bench.adapter.targets(bench.encoder):
        layer = plan[target.name]
        if layer.form != "chain" or target.observation.side == "output":
            continue
        linear = bench.encoder.get_submodule(target.name)
        bias = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
        factors = metric_factors(
            linear.weight.detach(),
            bias.detach(),
            bench.calibration.moments[target.observation.key],
            bench.fisher.grams[target.name],
            layer.rank,
        )
        layers[target.name] = LowRankLinear.from_factors(factors)
    install_(speech.model, layers)
    return speech


def main() -> None:
    """Run it and print one line per model."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    rows: list[dict[str, Any]] = found.get("rows", [])
    screen = Screen()
    bench = Bench(arguments, screen)
    facts = {
        "model": bench.dense.name,
        "calibration": {"clips": len(bench.calibrated), "sha256": bench.calibrated.fingerprint()},
        "scored": {"clips": arguments.scored, "of": bench.scored.fingerprint()},
    }
    if found and found["facts"] != facts:
        raise SystemExit(f"{arguments.output} holds results of other data: move it away")
    for keep in arguments.keep:
        for method in arguments.methods:
            if any((row["method"], row["keep"]) == (method, keep) for row in rows):
                continue
            speech = made_by(bench, method, keep)
            row = scored(bench, speech, rows, method, keep)
            if arguments.words:
                row["dense_rates"] = {k: v["rate"] for k, v in bench.dense_words.items()}
                row["words"] = bench.words(speech, bench.dense_words)
            rows.append(row)
            write_text(
                arguments.output, json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n"
            )
            print(method, keep, shown(row), flush=True)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row on one line."""
    line = {k: v for k, v in row.items() if k not in ("kls", "words")}
    return line | {lang: f"{score['rate']:.2%}" for lang, score in row.get("words", {}).items()}


def scored(
    bench: Bench, speech: liteasr.SpeechModel, rows: list[dict[str, Any]], method: str, keep: float
) -> dict[str, Any]:
    divergence = liteasr.measure_divergence(bench.reference, speech, track=bench.screen.track)
    tokens = [one.tokens for one in divergence.utterances]
    kls = [one.kl for one in divergence.utterances]
    base = "mlp-chains" if method.startswith("mlp-") else "plain"
    plain = next((r["kls"] for r in rows if (r["method"], r["keep"]) == (base, keep)), kls)
    difference = [a - b for a, b in zip(kls, plain, strict=True)]
    return {
        "method": method,
        "keep": keep,
        "kept": encoder_parameters(speech.model) / bench.parameters,
        "kl": divergence.mean_kl,
        "interval_95": divergence.interval,
        "median": median(kl / n for kl, n in zip(kls, tokens, strict=True)),
        "minus_plain_95": ratio_interval(difference, tokens),
        "agreement": divergence.agreement,
        "kls": kls,
    }


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--model", default="whisper-tiny.en")
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--calibration", type=int, default=30, help="clips of each, at most")
    parser.add_argument("--scored", type=int, default=30, help="clips that KL is measured on")
    parser.add_argument("--words", action="store_true", help="the WER as well")
    parser.add_argument("--methods", nargs="+", default=["plain"])
    parser.add_argument("--keep", nargs="+", type=float, default=[0.85, 0.7, 0.5])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="moments and sensitivities")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()

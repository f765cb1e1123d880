"""How long the encoder takes on a CPU, for one window of 30 s, by every runtime.

All contestants take turns in one process, in an order that is shuffled every round, so a machine
that slows down slows all of them. The first rounds are not counted. Medians, quartiles, ratios
to faster-whisper and to the best dense run of the same precision, and the share of the
machine's own fp32 matmul peak, which takes its turns like everybody else.

Checkpoints are compressed models; without any, the dense model is cut to the shares in --keep
with random weights, which take as long as real ones.

    python benchmarks/cpu.py --checkpoint lite-50 --checkpoint lite-35 --output RESULTS.json
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import liteasr
from liteasr.atomic import write_text
from liteasr.compression import install_
from liteasr.encoders import adapter_for
from liteasr.export import export_encoder
from liteasr.export.verification import probe_windows
from liteasr.nn import LowRankLinear
from liteasr.plan.stopwatch import latency_setting
from liteasr.runtime.encoding import EncoderRuntime
from liteasr.runtime.onnxruntime import OnnxEncoder
from liteasr.runtime.openvino import OpenVinoEncoder
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources import fetch

PEAK_SIZE = 2048
RATIOS = ("ct2 float32", "ct2 int8")
# those that the processor has; int8 computes in float32 what is not a product
CTRANSLATE2 = ("float32", "int8", "bfloat16", "int8_bfloat16")
OPENVINO = {"f32": "float32", "bf16": "bfloat16"}


@dataclass(kw_only=True)
class Contestant:
    """One encoder in one runtime.

    Attributes:
        label: For the table.
        precision: Of its products.
        flops: For one window.
        run: Encodes it.
        error: Relative, to the model's own eager float32 output; None for another's model.
        dense: Whether nothing was reduced.
        seconds: One reading per round.
    """

    label: str
    precision: str
    flops: float
    run: Callable[[], object]
    error: float | None = None
    dense: bool = False
    seconds: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """In milliseconds."""
        return 1000 * float(np.median(self.seconds))


def main() -> None:
    """Measure, print a table and keep everything as JSON."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as folder, torch.inference_mode():
        contestants = gathered(arguments, Path(folder))
        measure(contestants, arguments.rounds, arguments.warm_up)
    rows = [row(contestant, contestants) for contestant in contestants]
    Console(width=140).print(table(rows))
    result = {"conditions": conditions(arguments), "rows": rows}
    if arguments.output is not None:
        write_text(arguments.output, json.dumps(result, indent=2) + "\n")


def gathered(arguments: argparse.Namespace, folder: Path) -> list[Contestant]:
    """Every contestant, ready to run."""
    dense = liteasr.load_model(arguments.model)
    window = probe_windows(dense)[0]
    flops = export_encoder(dense, folder / "size.onnx").description.flops
    found = [peak(), *faster_whisper(arguments, window, flops)]
    found += ours("dense", dense, window, folder, arguments.threads)
    for path in arguments.checkpoint:
        found += ours(path.name, liteasr.load_model(path), window, folder, arguments.threads)
    for keep in () if arguments.checkpoint else arguments.keep:
        cut = cut_(liteasr.load_model(arguments.model), keep)
        found += ours(f"random {keep:.0%}", cut, window, folder, arguments.threads)
    return found


def peak() -> Contestant:
    """A large square product: what the machine can do in fp32."""
    a, b = torch.randn(2, PEAK_SIZE, PEAK_SIZE)
    return Contestant(
        label="fp32 matmul", precision="float32", flops=2.0 * PEAK_SIZE**3, run=lambda: a @ b
    )


def faster_whisper(
    arguments: argparse.Namespace, window: np.ndarray, flops: float
) -> list[Contestant]:
    """CTranslate2's encoder behind ``WhisperModel.encode``; none where it has no such model."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        return []
    from ctranslate2 import get_supported_compute_types

    supported = get_supported_compute_types("cpu")
    place = arguments.ctranslate2 or str(fetch(arguments.model))
    made = []
    for kind in (kind for kind in CTRANSLATE2 if kind in supported):
        model = WhisperModel(place, device="cpu", compute_type=kind, cpu_threads=arguments.threads)
        made.append(
            Contestant(
                label=f"ct2 {kind}",
                precision=kind,
                flops=flops,
                run=lambda model=model: np.array(model.encode(window)),
                dense=True,
            )
        )
    return made


def ours(
    label: str, speech: liteasr.SpeechModel, window: np.ndarray, folder: Path, threads: int
) -> list[Contestant]:
    """One model through PyTorch, ONNX Runtime and, where it is installed, OpenVINO."""
    eager = TorchEncoder(speech)
    expected = eager.encode(window)
    runtimes: dict[str, tuple[str, EncoderRuntime]] = {
        "torch float32": ("float32", eager),
        "torch bfloat16": ("bfloat16", TorchEncoder(speech, dtype=torch.bfloat16)),
    }
    flops = 0.0
    for kind in ("float32", "int8"):
        file = folder / f"{label.replace(' ', '-')}-{kind}.onnx"
        flops = export_encoder(speech, file, precision=kind).description.flops
        runtimes[f"onnx {kind}"] = (kind, OnnxEncoder(file, threads=threads))
        if kind == "float32":
            runtimes.update(openvino(file, threads))
    return [
        Contestant(
            label=f"{label}, {name}",
            precision=precision,
            flops=flops,
            run=lambda runtime=runtime: runtime.encode(window),
            error=relative(runtime.encode(window), expected),
            dense=label == "dense",
        )
        for name, (precision, runtime) in runtimes.items()
    ]


def openvino(file: Path, threads: int) -> dict[str, tuple[str, EncoderRuntime]]:
    """The same file in both precisions; those that the processor does not have are left out."""
    if find_spec("openvino") is None:
        print("left out: openvino is not installed")
        return {}
    made = {}
    for precision, kind in OPENVINO.items():
        runtime = OpenVinoEncoder(file, threads=threads, precision=precision)
        if runtime.name.startswith(f"openvino-{precision}:"):
            made[f"openvino {kind}"] = (kind, runtime)
    return made


def cut_(speech: liteasr.SpeechModel, keep: float) -> liteasr.SpeechModel:
    """Cut an encoder to a share of its parameters: narrower scores, and chains of random weights.

    Heads of queries and keys keep 3/4 of the share, in eighths; the rest of the budget gives the
    rank of all chains, in sixteenths.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    targets = {target.name: target for target in adapter.targets(encoder)}
    blocks = len(adapter.blocks(encoder))
    layers: dict[str, nn.Module] = {}
    for site in adapter.attentions(encoder):
        width = max(8, 8 * round(site.head_dim * 0.75 * keep / 8))
        for name in (site.query, site.key):
            inputs = targets.pop(name).in_features
            layers[name] = nn.Linear(inputs, site.heads * width)
    fixed = sum(m.weight.numel() for m in layers.values())  # type: ignore[operator, union-attr]
    linear = sum(target.parameter_count for target in targets.values())
    linear += sum(encoder.get_submodule(name).weight.numel() for name in layers)  # type: ignore[operator, union-attr]
    widths = sum(target.in_features + target.out_features for target in targets.values())
    rank = 16 * int((keep * linear - fixed) / widths / 16)
    if blocks == 0 or rank < 16:
        raise SystemExit(f"--keep {keep} leaves no room for chains")
    layers |= {
        name: LowRankLinear(target.in_features, target.out_features, rank)
        for name, target in targets.items()
    }
    install_(speech.model, layers)
    speech.model.eval()
    return speech


def measure(contestants: list[Contestant], rounds: int, warm_up: int) -> None:
    """Let everybody run once a round, in another order every time."""
    order = list(contestants)
    shuffled = random.Random(0)
    for number in range(warm_up + rounds):
        shuffled.shuffle(order)
        for contestant in order:
            start = time.perf_counter()
            contestant.run()
            if number >= warm_up:
                contestant.seconds.append(time.perf_counter() - start)


def row(contestant: Contestant, everybody: list[Contestant]) -> dict[str, object]:
    """What the table and the JSON say of one."""
    by_label = {other.label: other for other in everybody}
    low, high = np.quantile(contestant.seconds, [0.25, 0.75])
    speed = contestant.flops / contestant.median_ms / 1e6
    reference = by_label["fp32 matmul"]
    made: dict[str, object] = {
        "label": contestant.label,
        "median_ms": contestant.median_ms,
        "quartiles_ms": [1000 * float(low), 1000 * float(high)],
        "best_ms": 1000 * min(contestant.seconds),
        "gflop": contestant.flops / 1e9,
        "gflop_per_s": speed,
        "share_of_fp32_peak": speed / (reference.flops / reference.median_ms / 1e6),
        "relative_error": contestant.error,
    }
    rivals = {label: by_label[label] for label in RATIOS if label in by_label}
    dense = [c for c in everybody if c.dense and c.precision == contestant.precision]
    if dense and not contestant.dense:
        rivals["best dense, same precision"] = min(dense, key=lambda c: c.median_ms)
    for label, rival in rivals.items():
        pairs = np.array(rival.seconds) / np.array(contestant.seconds)
        made[f"times as fast as {label}"] = float(np.median(pairs))
    return made


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """‖found - expected‖ / ‖expected‖."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def table(rows: list[dict[str, object]]) -> Table:
    """For people."""
    headings = {
        "median_ms": "ms",
        "quartiles_ms": "quartiles",
        "gflop": "GFLOP",
        "share_of_fp32_peak": "of fp32 peak",
        "relative_error": "error",
        **{f"times as fast as {label}": f"x {label}" for label in RATIOS},
        "times as fast as best dense, same precision": "x best dense",
    }
    made = Table("encoder", *headings.values())
    for values in rows:
        made.add_row(str(values["label"]), *(shown(values.get(key)) for key in headings))
    return made


def shown(value: object) -> str:
    """A number as short as it is good for."""
    if isinstance(value, list):
        return " - ".join(f"{v:.0f}" for v in value)
    return f"{value:.3g}" if isinstance(value, float) else ""


def conditions(arguments: argparse.Namespace) -> dict[str, object]:
    """What the numbers depend on."""
    names = (
        "liteasr", "torch", "onnxruntime", "openvino", "ctranslate2", "transformers", "numpy"
    )  # fmt: skip
    return {
        "command": {key: str(value) for key, value in vars(arguments).items()},
        "setting": asdict(latency_setting(liteasr.load_model(arguments.model).model)),
        "platform": platform.platform(),
        "versions": {name: found for name in names if (found := installed(name))},
        "window_s": 30,
        "order": "interleaved in one process, shuffled every round",
    }


def installed(name: str) -> str | None:
    """Its version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="whisper-base", help="the dense model")
    parser.add_argument("--ctranslate2", help="its directory, where the model is not a bundled one")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    parser.add_argument("--keep", type=float, nargs="*", default=[0.5, 0.35])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Options that several commands share, written once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
import typer

from liteasr.artefacts import sensitivity_file
from liteasr.calibration import FrameChoice
from liteasr.checkpoint import load_model
from liteasr.cli.screen import Screen
from liteasr.devices import find_device
from liteasr.encoders import pool_positions_, use_encoder_
from liteasr.plan import DEFAULT_KEEP, PRESETS, BudgetConfig, ThresholdConfig, rule_from
from liteasr.progress import Track
from liteasr.sources import SpeechModel

__all__ = [
    "Audio",
    "Device",
    "Encoder",
    "Flops",
    "Frames",
    "Json",
    "Keep",
    "Model",
    "MomentsFile",
    "Pattern",
    "PoolFrom",
    "Preset",
    "Quiet",
    "Samples",
    "Seed",
    "Speedup",
    "Threads",
    "Thresholds",
    "Units",
    "open_model",
    "refuse_collisions",
    "require_probe",
    "rule_of",
    "start",
]

Model = Annotated[
    str,
    typer.Argument(
        help="A bundled name (whisper-base), a Hugging Face directory or hub id, a CTranslate2 "
        "(faster-whisper) directory, an openai-whisper .pt file, or a checkpoint made here.",
        show_default=False,
    ),
]
Audio = Annotated[
    list[str],
    typer.Option(
        "--audio",
        help="Unlabelled speech: a folder, a JSONL manifest, a text file of paths, one file, or "
        "hf:DATASET. May be given more than once.",
        show_default=False,
    ),
]
Frames = Annotated[
    FrameChoice,
    typer.Option(help="Count every encoder position, or leave the padding to 30 s out."),
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", min=1, help="Use this many utterances, chosen by --seed."),
]
Seed = Annotated[int, typer.Option("--seed", help="Chooses the sample.")]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help=f"The paper's rule, ready made: {', '.join(PRESETS)}."),
]
Keep = Annotated[
    float | None,
    typer.Option(
        "--keep",
        help="Share of the encoder's parameters to keep: all ranks are chosen at once, by how "
        f"much each layer matters. [default: {DEFAULT_KEEP:g}, where no rule is named]",
    ),
]
Flops = Annotated[
    float | None,
    typer.Option("--flops", help="Share of the encoder's FLOPs to keep, in the same way."),
]
Speedup = Annotated[
    float | None,
    typer.Option(
        "--speedup",
        help="How many times as fast the encoder shall be on this machine, in the same way: its "
        "parts are timed once, about a minute for Whisper base.",
    ),
]
Thresholds = Annotated[
    str | None,
    typer.Option(
        "--thresholds",
        metavar="ATTENTION:MLP",
        help="The paper's rule: share of the variance that attention and MLP layers keep, "
        "such as 0.99:0.999.",
    ),
]
PoolFrom = Annotated[
    int | None,
    typer.Option(
        "--pool-from",
        min=0,
        help="Average pairs of positions before this block of a Whisper encoder: it and all later "
        "ones cost half, and so does what the decoder reads. [default: never]",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads. [default: as PyTorch chooses]")
]


def _checked(device: str | None) -> str | None:
    """Refuse a device that is not there before any work."""
    try:
        find_device(device)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return device


Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda:N",
        callback=_checked,
        help="Where PyTorch computes; auto is a GPU where there is one. [default: auto]",
        show_default=False,
    ),
]
Units = Annotated[
    bool | None,
    typer.Option(
        "--units/--no-units",
        help="Look at the hidden units of MLPs, so that budgets may remove some. Their moments are "
        "large. [default: where they take no more than 2 GiB]",
        show_default=False,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout, for machines.")]

MomentsFile = Annotated[
    Path,
    typer.Option("--moments", "-m", help="The calibration made by `liteasr calibrate`."),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Dotted name of the encoder inside a model that liteasr does not know, such as "
        "model.audio_tower: every linear layer and 1x1 convolution in it may then be reduced.",
    ),
]
Pattern = Annotated[
    str,
    typer.Option(
        "--pattern", help="With --encoder: only layers whose name holds this regular expression."
    ),
]


def open_model(
    ref: str,
    encoder: str | None = None,
    pattern: str = "",
    *,
    device: str | None = None,
    pool_from: int | None = None,
    track: Track,
) -> SpeechModel:
    """Open a model, and choose its encoder where --encoder names one.

    Raises:
        typer.BadParameter: A pattern without an encoder.
        LiteASRError: The model cannot be opened, or has no such encoder.
    """
    if pattern and encoder is None:
        raise typer.BadParameter("--pattern chooses layers of --encoder: give both")
    speech = load_model(ref, device=device, track=track)
    if encoder is not None:
        use_encoder_(speech.model, speech.processor, encoder, pattern=pattern)
    if pool_from is not None:
        pool_positions_(speech.model, pool_from)
    return speech


def start(*, quiet: bool, as_json: bool = False, threads: int | None = None) -> Screen:
    """Set up what every command needs."""
    from transformers.utils import logging as transformers_logging

    screen = Screen(quiet=quiet, as_json=as_json)
    screen.start_logging()
    if quiet:
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
    if threads is not None:
        torch.set_num_threads(threads)
    return screen


def rule_of(
    keep: float | None,
    flops: float | None,
    speedup: float | None,
    preset: str | None,
    thresholds: str | None,
) -> ThresholdConfig | BudgetConfig:
    """The rule that --keep, --flops, --speedup, --preset or --thresholds asks for.

    Raises:
        typer.BadParameter: More than one is given, or one is wrong.
    """
    try:
        config = None if thresholds is None else ThresholdConfig.parse(thresholds)
        return rule_from(keep=keep, flops=flops, speedup=speedup, preset=preset, config=config)
    except ValueError as error:
        message = str(error).replace("config", "thresholds")
        raise typer.BadParameter(message) from error


def require_probe(
    rule: ThresholdConfig | BudgetConfig | None, audio: object, moments: Path | None
) -> None:
    """Refuse a budget that has neither audio to probe with nor what an earlier probe found.

    Raises:
        typer.BadParameter: It has not.
    """
    kept = moments is not None and sensitivity_file(moments).is_file()
    if isinstance(rule, BudgetConfig) and audio is None and not kept:
        raise typer.BadParameter(
            "a budget probes the layers once: give --audio (or the paper's rule, --preset plain)"
        )


def refuse_collisions(outputs: Iterable[tuple[str | Path, str]]) -> None:
    """Refuse inputs that would overwrite each other's output, before any work is done.

    Raises:
        typer.BadParameter: Two inputs have one output name.
    """
    owners: dict[str, str | Path] = {}
    for given, name in outputs:
        if name in owners:
            raise typer.BadParameter(
                f"{owners[name]} and {given} would both be written to {name}: rename one, or run "
                "them apart with a directory each"
            )
        owners[name] = given

"""Options of the commands that choose ranks: what is looked at, and by which rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.artefacts import sensitivity_file
from liteasr.calibration import FrameChoice
from liteasr.checkpoint import load_model
from liteasr.encoders import pool_positions_, use_encoder_
from liteasr.plan import DEFAULT_KEEP, PRESETS, BudgetConfig, ThresholdConfig, rule_from
from liteasr.progress import Track
from liteasr.sources import SpeechModel

__all__ = [
    "Encoder",
    "Flops",
    "Frames",
    "Keep",
    "MomentsFile",
    "Pattern",
    "PoolFrom",
    "Preset",
    "Speedup",
    "Thresholds",
    "Units",
    "open_model",
    "require_probe",
    "rule_of",
]

Frames = Annotated[
    FrameChoice,
    typer.Option(
        help="Encoder positions that count: those that hold audio and one in four of the padding "
        "to 30 s, all of them, as the paper does, or those that hold audio alone."
    ),
]
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
Units = Annotated[
    bool | None,
    typer.Option(
        "--units/--no-units",
        help="Look at the hidden units of MLPs, so that budgets may remove some. Their moments are "
        "large. [default: where they take no more than 2 GiB]",
        show_default=False,
    ),
]
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

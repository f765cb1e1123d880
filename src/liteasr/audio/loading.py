"""Any recording to 16 kHz mono, through PyAV (FFmpeg's libraries, no FFmpeg needed)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from jaxtyping import Float

from liteasr.errors import AudioError

__all__ = ["SAMPLE_RATE_HZ", "AudioSource", "duration_s", "is_silent", "load_audio"]

SAMPLE_RATE_HZ = 16_000
SILENCE_DBFS = -80.0

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


def load_audio(source: AudioSource) -> Float[np.ndarray, "samples"]:
    """Decode a recording to a mono float32 waveform at 16 kHz, in [-1, 1].

    Args:
        source: A path, the bytes of a file, or an open binary file: wav, flac, mp3, m4a, ogg,
            opus, webm, or the first audio track of a video.

    Raises:
        AudioError: The recording is missing, not decodable to its end, without an audio
            track, empty, or holds NaN or infinite samples.
    """
    name = _name_of(source)
    chunks: list[np.ndarray] = []
    decoded = 0
    try:
        for chunk in _decode(_opened(source, name), name):
            chunks.append(chunk)
            decoded += len(chunk)
    except _av_errors() as error:
        at = decoded / SAMPLE_RATE_HZ
        raise AudioError(
            f"{name} cannot be decoded past {at:.1f} s ({error}): is it complete and an audio file?"
        ) from error
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.float32)
    if len(waveform) == 0:
        raise AudioError(f"{name} holds no audio: 0 samples")
    if not np.isfinite(waveform).all():
        raise AudioError(f"{name} holds NaN or infinite samples: export it again")
    return waveform


def duration_s(waveform: Float[np.ndarray, "samples"]) -> float:
    """Length of a 16 kHz waveform in seconds."""
    return len(waveform) / SAMPLE_RATE_HZ


def is_silent(waveform: Float[np.ndarray, "samples"]) -> bool:
    """Whether the loudest sample stays under -80 dBFS: digital silence or a dead microphone."""
    return float(np.abs(waveform).max(initial=0.0)) < 10 ** (SILENCE_DBFS / 20)


def _decode(source: Any, name: str) -> Iterator[np.ndarray]:
    import av

    # a damaged packet must be an error, not a gap that nobody notices
    options = {"err_detect": "explode"}
    with av.open(source, mode="r", metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise AudioError(f"{name} has no audio track")
        stream = container.streams.audio[0]
        stream.codec_context.options = options
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
        for frame in container.decode(stream):
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray()[0]
        for resampled in resampler.resample(None):
            yield resampled.to_ndarray()[0]


def _av_errors() -> tuple[type[Exception], ...]:
    from av.error import FFmpegError

    return (FFmpegError, ValueError, EOFError)


def _opened(source: AudioSource, name: str) -> Any:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(source)
    if path.is_dir():
        raise AudioError(f"{name} is a folder, not a recording: pass it as a corpus")
    if not path.is_file():
        raise AudioError(f"{name} does not exist")
    return str(path)


def _name_of(source: AudioSource) -> str:
    if isinstance(source, bytes):
        return f"audio of {len(source)} bytes"
    if isinstance(source, str | os.PathLike):
        return str(source)
    return str(getattr(source, "name", "audio stream"))

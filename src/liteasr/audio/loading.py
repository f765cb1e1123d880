"""Any recording to 16 kHz mono, through PyAV (FFmpeg's libraries, no FFmpeg needed)."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from jaxtyping import Float

from liteasr.audio.riff import check_wav_whole
from liteasr.errors import AudioError

__all__ = ["SAMPLE_RATE_HZ", "AudioSource", "duration_s", "is_silent", "load_audio"]

log = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000
SILENCE_DBFS = -80.0
MAX_DAMAGED = 0.05
EXACT_LENGTH = ("flac", "mov")  # FFmpeg takes a wav to be as long as its file: see riff

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


def load_audio(source: AudioSource) -> Float[np.ndarray, "samples"]:
    """Decode a recording to a mono float32 waveform at 16 kHz, in [-1, 1].

    Channels are averaged. A few damaged packets (usual at the start of cut MP3s) are skipped
    with a warning; more than 5 % of them, or a file cut short, is an error.

    Args:
        source: A path, the bytes of a file, or an open binary file: wav, flac, mp3, m4a, ogg,
            opus, webm, or the first audio track of a video.

    Raises:
        AudioError: The recording is missing, not decodable, cut short, without an audio track,
            empty, or holds NaN or infinite samples.
    """
    from av.error import FFmpegError

    name = _name_of(source)
    try:
        waveform = _decode(_opened(source, name), name)
    except (FFmpegError, OSError, ValueError, EOFError) as error:
        raise AudioError(
            f"{name} cannot be decoded ({error}): is it complete, and is it audio?"
        ) from error
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


def _decode(source: Any, name: str) -> Float[np.ndarray, "samples"]:
    import av

    chunks: list[np.ndarray] = []
    packets = damaged = 0
    with av.open(source, mode="r", metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise AudioError(f"{name} has no audio track")
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE_HZ)
        for packet in container.demux(stream):
            packets += 1
            try:
                for frame in packet.decode():
                    chunks.extend(_mono(resampler.resample(frame)))
            except av.error.InvalidDataError:
                damaged += 1
        if chunks:
            chunks.extend(_mono(resampler.resample(None)))
        declared_s = _declared_s(container, stream)
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.float32)
    _check_complete(name, packets, damaged, declared_s, duration_s(waveform))
    return waveform


def _mono(frames: list[Any]) -> Iterator[np.ndarray]:
    # averaged here: FFmpeg's own mix to floats is 3 dB louder than its mix to integers
    for frame in frames:
        yield frame.to_ndarray().mean(axis=0, dtype=np.float32)


def _declared_s(container: Any, stream: Any) -> float | None:
    """The length that the file claims, where its format counts and does not estimate."""
    if container.format.name.split(",")[0] not in EXACT_LENGTH or stream.duration is None:
        return None
    return float(stream.duration * stream.time_base)


def _check_complete(
    name: str, packets: int, damaged: int, declared_s: float | None, found_s: float
) -> None:
    if damaged > MAX_DAMAGED * packets:
        raise AudioError(f"{name} is damaged: {damaged} of {packets} packets cannot be decoded")
    if damaged:
        log.warning("%s: skipped %d damaged packets of %d", name, damaged, packets)
    if declared_s is not None and found_s < declared_s - max(1.0, MAX_DAMAGED * declared_s):
        raise AudioError(
            f"{name} is cut short or damaged: it declares {declared_s:.1f} s, and "
            f"{found_s:.1f} s can be decoded"
        )


def _opened(source: AudioSource, name: str) -> Any:
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        if source.seekable():
            check_wav_whole(source, name)
        return source
    path = Path(source)
    if path.is_dir():
        raise AudioError(f"{name} is a folder, not a recording: pass it as a corpus")
    if not path.is_file():
        raise AudioError(f"{name} does not exist")
    with path.open("rb") as file:
        check_wav_whole(file, name)
    return os.path.abspath(path)  # FFmpeg reads a relative "12:30.wav" as a protocol


def _name_of(source: AudioSource) -> str:
    if isinstance(source, bytes):
        return f"audio of {len(source)} bytes"
    if isinstance(source, str | os.PathLike):
        return str(source)
    return str(getattr(source, "name", "audio stream"))

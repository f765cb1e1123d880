import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from liteasr.audio import load_audio
from liteasr.audio.riff import check_wav_whole
from liteasr.errors import AudioError
from tiny_audio import write_wav

HEADER = 44  # bytes of the plainest WAV header


def whole(folder: Path, samples: int = 32_000) -> bytes:
    return write_wav(folder / "a.wav", np.full(samples, 0.1, dtype=np.float32)).read_bytes()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9])
def test_a_wav_cut_short_is_an_error_from_every_source(tmp_path: Path, kept: float) -> None:
    content = whole(tmp_path)
    cut = content[: HEADER + int(kept * (len(content) - HEADER))]
    (tmp_path / "cut.wav").write_bytes(cut)
    with pytest.raises(AudioError, match=r"cut\.wav is cut short: .* 64000 bytes"):
        load_audio(tmp_path / "cut.wav")
    with pytest.raises(AudioError, match="is cut short"):
        load_audio(cut)
    with pytest.raises(AudioError, match="is cut short"):
        load_audio(io.BytesIO(cut))


@pytest.mark.parametrize("declared", [0, 0x7FFF_F000, 0xFFFF_FFFF, 64_040])
def test_streamed_and_sloppy_lengths_pass(tmp_path: Path, declared: int) -> None:
    content = whole(tmp_path)
    patched = content[:40] + struct.pack("<I", declared) + content[44:]
    file = io.BytesIO(patched)
    check_wav_whole(file, "a.wav")
    assert file.tell() == 0
    if declared:  # FFmpeg finds no samples behind a 0
        assert len(load_audio(patched)) == 32_000


def test_chunks_before_the_samples_are_walked_over(tmp_path: Path) -> None:
    content = whole(tmp_path)
    note = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # odd size, padded to even
    noted = content[:36] + note + content[36:]
    assert len(load_audio(noted)) == 32_000
    with pytest.raises(AudioError, match="is cut short"):
        load_audio(noted[: len(noted) // 2])


def test_a_header_without_samples_in_sight_is_left_to_ffmpeg(tmp_path: Path) -> None:
    content = whole(tmp_path)
    note = b"LIST" + struct.pack("<I", 80_000) + b"INFO" + bytes(79_996)
    assert len(load_audio(content[:36] + note + content[36:])) == 32_000


def test_a_stream_that_cannot_seek_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb") as pipe:
        pipe.write(whole(tmp_path, 1_600))
        pipe.close()
        assert len(load_audio(file)) == 1_600


def test_relative_names_with_a_colon_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("12:30.wav").write_bytes(whole(tmp_path))
    assert len(load_audio("12:30.wav")) == 32_000


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    whole(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)  # root may read anything, so it is simulated
    with pytest.raises(AudioError, match=r"a\.wav cannot be decoded .*Permission denied"):
        load_audio(tmp_path / "a.wav")

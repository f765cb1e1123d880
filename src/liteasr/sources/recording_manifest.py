"""A manifest for recordings whose texts lie beside them."""

import json
import struct
from pathlib import Path

from liteasr.errors import SourceError

__all__ = ["manifest_lines", "wav_duration_s"]


def wav_duration_s(path: Path) -> float:
    """Read the length of a WAV file from its header, integer or floating point.

    Raises:
        SourceError: The file is not a RIFF WAVE file with a format and data.
    """
    content = path.read_bytes()
    offset, bytes_per_second = 12, 0
    while content[:4] == b"RIFF" and offset + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, offset)
        if kind == b"fmt ":
            (bytes_per_second,) = struct.unpack_from("<I", content, offset + 16)
        elif kind == b"data" and bytes_per_second:
            return float(min(size, len(content) - offset - 8) / bytes_per_second)
        offset += 8 + size + size % 2
    raise SourceError(f"{path} is not a WAV file")


def manifest_lines(folder: Path) -> str:
    """Describe each ``<language>/<name>.wav`` with its text, one JSON object per line."""
    lines = []
    for audio in sorted(folder.glob("*/*.wav")):
        entry = {
            "audio": audio.relative_to(folder).as_posix(),
            "text": audio.with_suffix(".txt").read_text(encoding="utf-8").strip(),
            "duration": round(wav_duration_s(audio), 3),
            "language": audio.parent.name,
        }
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    return "".join(lines)

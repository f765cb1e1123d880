"""What a WAV file says about its own length, which FFmpeg replaces by the file's size."""

from __future__ import annotations

import struct
from typing import BinaryIO

from liteasr.errors import AudioError

__all__ = ["check_wav_whole"]

HEAD_BYTES = 65_536
MAX_MISSING = 0.05  # sloppy writers are off by a header; a broken copy loses more
STREAMED_BYTES = 0x7FFF_0000  # from here on: written to a pipe, before the length was known


def check_wav_whole(file: BinaryIO, name: str) -> None:
    """Refuse a WAV file that ends before the samples it declares; other files pass.

    Args:
        file: Seekable, at the start of the recording, where it is put back.
        name: What the message calls the file.

    Raises:
        AudioError: More than 5 % of the declared bytes are missing.
    """
    start = file.tell()
    head = file.read(HEAD_BYTES)
    found = file.seek(0, 2) - start
    file.seek(start)
    if not isinstance(head, bytes) or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return
    place, declared = _samples(head)
    if not 0 < declared < STREAMED_BYTES:
        return
    present = max(found - place, 0)
    if present < (1 - MAX_MISSING) * declared:
        raise AudioError(
            f"{name} is cut short: its header declares {declared} bytes of samples, and "
            f"{present} are there: copy or record it again"
        )


def _samples(head: bytes) -> tuple[int, int]:
    """Where the samples start and how many bytes they take; 0 bytes where the head hides it."""
    place = 12
    while place + 8 <= len(head):
        kind, size = struct.unpack_from("<4sI", head, place)
        place += 8
        if kind == b"data":
            return place, size
        place += size + size % 2  # chunks start at even bytes
    return place, 0

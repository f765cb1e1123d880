"""Moonshine's ``tokenizer.bin``: the pieces of its vocabulary in the order of their ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of

__all__ = ["build_tokenizer", "read_pieces"]

BYTES = range(3, 259)  # ids of the pieces that stand for one byte
SPACE = "\u2581"


def read_pieces(path: Path) -> list[bytes]:
    """The pieces, each behind its length: one byte, or two where it is above 127.

    Raises:
        IntegrityError: The file ends inside a piece.
    """
    data = path.read_bytes()
    pieces, place = [], 0
    try:
        while place < len(data):
            length, place = data[place], place + 1
            if length > 127:
                length, place = 128 * data[place] + length - 128, place + 1
            if place + length > len(data):
                raise IndexError
            pieces.append(data[place : place + length])
            place += length
    except IndexError:
        raise IntegrityError(
            f"{path} ends inside a piece (SHA-256 {sha256_of(path)}): fetch it again"
        ) from None
    return pieces


def build_tokenizer(path: Path, *, vocab_size: int) -> Any:
    """A transformers tokenizer that decodes; the file holds no merges to encode long pieces with.

    Raises:
        IntegrityError: The file is damaged.
        SourceError: It has more pieces than the model.
    """
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    pieces = read_pieces(path)
    if len(pieces) > vocab_size:
        raise SourceError(f"{path} has {len(pieces)} pieces and the model {vocab_size}")
    names = [_name(number, piece) for number, piece in enumerate(pieces)]
    unused = [f"<<ST_{number}>>" for number in range(vocab_size - len(pieces))]
    names += unused
    vocabulary: dict[str, int] = {}
    for number, name in enumerate(names):
        vocabulary[name if name not in vocabulary else f"<{number}>"] = number
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        extra_special_tokens=unused,
        clean_up_tokenization_spaces=False,
    )


def _name(number: int, piece: bytes) -> str:
    if number in BYTES:
        return f"<0x{piece[0]:02X}>"
    return piece.decode("utf-8", errors="replace")

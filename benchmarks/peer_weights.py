r"""One Whisper's weights in the files of its peers, so that all are measured with the same.

    python benchmarks/peer_weights.py --model whisper-base --openai base.pt \
        --ggml ggml-base-q8_0.bin --ggml-type q8_0

`--openai` is a checkpoint of openai-whisper and `--ggml` a file of whisper.cpp, laid out as its
own converter (models/convert-pt-to-ggml.py) and its quantizer (examples/quantize) do. Needs
`liteasr[peers]`, and for quantized files also `pip install gguf`.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float

from liteasr.atomic import atomic_file
from liteasr.benchmark.backends.openai_whisper import as_openai_whisper
from liteasr.sources import load_dense

MAGIC = 0x67676D6C
HYPERPARAMETERS = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
    "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip
F32, F16 = 0, 1
# of files, as ggml numbers them; 2 thousand is the version of its blocks
FILE_TYPES = {"f16": 1, "q8_0": 2007, "q5_1": 2009}
# read in float32 whatever the file is in, and the convolutions' with a second dimension
CONVOLVED = ("encoder.conv1.bias", "encoder.conv2.bias")
EXACT = (*CONVOLVED, "encoder.positional_embedding", "decoder.positional_embedding")


def main() -> None:
    """Write the files that are asked for."""
    import whisper

    arguments = parse()
    model = as_openai_whisper(whisper, load_dense(arguments.model).model)
    if arguments.openai:
        kept = {"dims": asdict(model.dims), "model_state_dict": model.state_dict()}
        with atomic_file(arguments.openai) as path:
            torch.save(kept, path)
    if arguments.ggml:
        with atomic_file(arguments.ggml) as path, path.open("wb") as stream:
            write_ggml(stream, whisper, model, arguments.ggml_type)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="whisper-base", help="any dense Whisper")
    parser.add_argument("--openai", type=Path, metavar="FILE.pt")
    parser.add_argument("--ggml", type=Path, metavar="FILE.bin")
    parser.add_argument("--ggml-type", choices=FILE_TYPES, default="f16")
    return parser.parse_args()


def write_ggml(stream: BinaryIO, package: Any, model: Any, kind: str) -> None:
    """Write sizes, filters, words and tensors of openai-whisper's model and package."""
    dims = asdict(model.dims)
    encoding = package.tokenizer.get_tokenizer(model.is_multilingual).encoding
    words = [encoding.decode_single_token_bytes(i) for i in range(encoding.eot_token)]
    write_front(stream, dims, kind, package.audio.mel_filters("cpu", dims["n_mels"]).numpy(), words)
    for name, tensor in model.state_dict().items():
        write_tensor(stream, name, tensor.float().numpy(), kind)


def write_front(
    stream: BinaryIO,
    dims: Mapping[str, int],
    kind: str,
    filters: Float[np.ndarray, "mels frequencies"],
    words: Sequence[bytes],
) -> None:
    """Write what precedes the tensors; special tokens have no word, whisper.cpp knows them."""
    integers(stream, MAGIC, *(dims[name] for name in HYPERPARAMETERS), FILE_TYPES[kind])
    integers(stream, *filters.shape)
    stream.write(filters.astype("<f4").tobytes())
    integers(stream, len(words))
    for word in words:
        integers(stream, len(word))
        stream.write(word)


def write_tensor(
    stream: BinaryIO, name: str, tensor: Float[np.ndarray, "*shape"], kind: str
) -> None:
    """Write vectors in float32, convolutions in float16 and matrices in the type of the file."""
    if name in CONVOLVED:
        tensor = tensor[:, None]
    if tensor.ndim == 1 or name in EXACT:
        number, data = F32, tensor.astype("<f4")
    elif tensor.ndim == 3 or kind == "f16":
        number, data = F16, tensor.astype("<f2")
    else:
        number, data = quantized(tensor, kind)
    encoded = name.encode()
    integers(stream, tensor.ndim, len(encoded), number, *reversed(tensor.shape))
    stream.write(encoded)
    stream.write(data.tobytes())


def quantized(matrix: Float[np.ndarray, "out in"], kind: str) -> tuple[int, np.ndarray]:
    """Give the number ggml has for this type of blocks, and their bytes."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    block = GGMLQuantizationType[kind.upper()]
    return int(block), quantize(matrix, block)


def integers(stream: BinaryIO, *values: int) -> None:
    stream.write(struct.pack(f"<{len(values)}i", *values))


if __name__ == "__main__":
    main()

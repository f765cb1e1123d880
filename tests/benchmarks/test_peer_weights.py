"""Files of peers hold a Whisper's own weights: read back, byte by byte, by another reader."""

import struct
import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from liteasr.sources import load_dense
from tiny_whisper import tiny_whisper

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DIMS = {
    "n_vocab": 7, "n_audio_ctx": 10, "n_audio_state": 64, "n_audio_head": 4, "n_audio_layer": 2,
    "n_text_ctx": 20, "n_text_state": 64, "n_text_head": 8, "n_text_layer": 3, "n_mels": 5,
}  # fmt: skip
SHAPES = {
    "encoder.conv1.weight": (64, 5, 3), "encoder.conv1.bias": (64,),
    "encoder.positional_embedding": (10, 64), "encoder.blocks.0.mlp.0.weight": (256, 64),
    "encoder.blocks.0.mlp.0.bias": (256,), "decoder.token_embedding.weight": (7, 64),
}  # fmt: skip
BLOCK_BYTES = {7: 24, 8: 34}  # of 32 weights


@pytest.fixture
def peer_weights(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import peer_weights

    return peer_weights


class Reader:
    """What whisper.cpp reads, in its order."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.take(4 * count))

    def front(self) -> tuple[tuple[int, ...], np.ndarray, list[bytes]]:
        sizes = self.integers(12)
        mels, frequencies = self.integers(2)
        filters = np.frombuffer(self.take(4 * mels * frequencies), "<f4")
        (count,) = self.integers(1)
        words = [self.take(*self.integers(1)) for _ in range(count)]
        return sizes, filters.reshape(mels, frequencies), words

    def tensors(self) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
        """Number of the type, shape with the innermost dimension first, bytes."""
        found = {}
        while self.at < len(self.data):
            dimensions, length, number = self.integers(3)
            shape = self.integers(dimensions)
            name = self.take(length).decode()
            count = int(np.prod(shape))
            size = {0: 4 * count, 1: 2 * count}.get(number) or count // 32 * BLOCK_BYTES[number]
            found[name] = (number, shape, self.take(size))
        return found


def written(module: ModuleType, kind: str, rng: np.random.Generator) -> tuple[Any, Reader]:
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}
    stream = BytesIO()
    filters = np.arange(10, dtype=np.float32).reshape(5, 2)
    module.write_front(stream, DIMS, kind, filters, [b"a", b"", b"\xe2\x82"])
    for name, tensor in tensors.items():
        module.write_tensor(stream, name, tensor, kind)
    return tensors, Reader(stream.getvalue())


def test_a_float16_file_reads_back(peer_weights: ModuleType, rng: np.random.Generator) -> None:
    tensors, reader = written(peer_weights, "f16", rng)
    sizes, filters, words = reader.front()
    assert sizes == (0x67676D6C, 7, 10, 64, 4, 2, 20, 64, 8, 3, 5, 1)
    assert filters[1].tolist() == [2, 3]
    assert words == [b"a", b"", b"\xe2\x82"]
    found = reader.tensors()
    assert list(found) == list(tensors)
    assert {name: number for name, (number, _, _) in found.items()} == {
        "encoder.conv1.weight": 1, "encoder.conv1.bias": 0, "encoder.positional_embedding": 0,
        "encoder.blocks.0.mlp.0.weight": 1, "encoder.blocks.0.mlp.0.bias": 0,
        "decoder.token_embedding.weight": 1,
    }  # fmt: skip
    assert found["encoder.conv1.weight"][1] == (3, 5, 64)
    assert found["encoder.conv1.bias"][1] == (1, 64)  # added to (time, channels)
    for name, (number, _, data) in found.items():
        stored = tensors[name].astype(("<f4", "<f2")[number])
        assert data == stored.tobytes()


@pytest.mark.parametrize(
    ("kind", "of_file", "of_matrices", "step"), [("q8_0", 2007, 8, 254), ("q5_1", 2009, 7, 31)]
)
def test_only_matrices_become_blocks(
    kind: str, of_file: int, of_matrices: int, step: int, peer_weights: ModuleType,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    gguf = pytest.importorskip("gguf")
    _, plain = written(peer_weights, "f16", rng)
    plain.front()
    expected = plain.tensors()
    tensors, reader = written(peer_weights, kind, np.random.default_rng(0))
    assert reader.front()[0][-1] == of_file
    found = reader.tensors()
    blocks = {name for name, (number, _, _) in found.items() if number == of_matrices}
    assert blocks == {"encoder.blocks.0.mlp.0.weight", "decoder.token_embedding.weight"}
    assert all(found[name] == expected[name] for name in set(found) - blocks)
    for name in blocks:
        number, shape, data = found[name]
        assert shape == expected[name][1]
        rows = np.frombuffer(data, np.uint8).reshape(shape[1], -1)
        back = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(number))
        spread = np.ptp(tensors[name].reshape(-1, 32), axis=1, keepdims=True)
        error = np.abs(back - tensors[name]).reshape(-1, 32)
        assert (error <= 1.1 * spread / step).all()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # openai-whisper leaves a file open
def test_both_files_hold_the_weights_of_the_model(
    peer_weights: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("whisper")
    speech = tiny_whisper(width=32, blocks=1)
    speech.model.save_pretrained(tmp_path)
    speech.processor.save_pretrained(tmp_path)
    files = {"--model": tmp_path, "--openai": tmp_path / "a.pt", "--ggml": tmp_path / "a.bin"}
    options = [str(part) for pair in files.items() for part in pair]
    monkeypatch.setattr(sys, "argv", ["peer_weights.py", *options])
    peer_weights.main()
    original = torch.load(tmp_path / "a.pt", weights_only=True)
    reader = Reader((tmp_path / "a.bin").read_bytes())
    sizes, filters, words = reader.front()
    assert sizes[1:4] == (original["dims"]["n_vocab"], 1500, 32)
    assert filters.shape == (80, 201)
    assert words[0] == b"!"
    found = reader.tensors()
    assert found.keys() == original["model_state_dict"].keys()
    for name, (number, shape, data) in found.items():
        tensor = original["model_state_dict"][name].numpy()
        assert [size for size in reversed(shape) if size > 1] == list(tensor.shape)
        assert data == tensor.astype(("<f4", "<f2")[number]).tobytes()
    theirs = load_dense(tmp_path / "a.pt").model.state_dict()
    ours = speech.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())

"""Decoders for one token after another: what they lose, and that they are kept."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from liteasr.errors import ExportError, StorageError, UnsupportedModelError
from liteasr.export import greedy
from liteasr.export.block_products import BlockProducts
from liteasr.export.graph import Graph
from liteasr.export.greedy import greedy_directory, write_greedy_decoder
from liteasr.export.products import Affine
from liteasr.export.session import open_session
from liteasr.nn import LowRankLinear
from liteasr.sources import SpeechModel
from tiny_ctc import tiny_wav2vec2
from tiny_whisper import tiny_whisper

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Whichever tests ran before in this process."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(("bits", "most"), [(8, 0.02), (4, 0.15)])
@pytest.mark.parametrize("inputs", [8, 48, 128, 200])
@pytest.mark.parametrize("bias", [True, False])
def test_products_of_blocks_lose_little(
    tmp_path: Path, bits: Literal[4, 8], most: float, inputs: int, bias: bool
) -> None:
    weight = RNG.normal(size=(inputs, 40)).astype(np.float32)
    shift = RNG.normal(size=40).astype(np.float32)
    part = Affine(name="a", weight=weight, bias=shift if bias else None)
    graph = Graph("product")
    graph.input("x", ["rows", inputs])
    graph.output("y", BlockProducts(bits).chain(graph, "x", [part]), ["rows", 40])
    graph.save(tmp_path / "product.onnx", properties={})
    x = RNG.normal(size=(3, inputs)).astype(np.float32)
    (found,) = open_session(tmp_path / "product.onnx", threads=1).run(None, {"x": x})
    expected = x @ weight + (shift if bias else 0)
    assert np.linalg.norm(found - expected) < most * np.linalg.norm(expected)


def test_float32_is_exact_and_int8_is_close(tmp_path: Path) -> None:
    speech = tiny_whisper()
    exact = write_greedy_decoder(speech, tmp_path / "exact", precision="float32")
    close = write_greedy_decoder(speech, tmp_path / "close")
    assert exact.relative < 1e-5 < close.relative < 0.15  # most of the vocabulary stays in 4 bits


def test_chains_and_untied_vocabularies_are_written(tmp_path: Path) -> None:
    speech = tiny_whisper(tie_word_embeddings=False)
    assert speech.model.proj_out.weight is not speech.model.model.decoder.embed_tokens.weight
    attention = speech.model.model.decoder.layers[0].self_attn
    attention.q_proj = LowRankLinear(64, 64, 8)
    assert write_greedy_decoder(speech, tmp_path / "d", precision="float32").relative < 1e-5


def test_what_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(greedy.TOLERANCES, "int8", 1e-9)
    with pytest.raises(ExportError, match="the limit is 1e-09"):
        write_greedy_decoder(tiny_whisper(), tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path))
    speech = tiny_whisper()
    first = greedy_directory(speech, "0" * 64)
    monkeypatch.setattr(greedy, "write_greedy_decoder", None)
    assert greedy_directory(speech, "0" * 64) == first
    assert {file.name for file in first.iterdir()} == {"memory.onnx", "step.onnx"}


def test_a_disk_that_refuses_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError):
        greedy_directory(tiny_whisper(), "0" * 64)


def test_other_families_have_no_such_decoder(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="only decoders of 'whisper'"):
        write_greedy_decoder(tiny_wav2vec2(), tmp_path / "d")


def test_a_model_of_transformers_is_needed(tiny_speech: SpeechModel, tmp_path: Path) -> None:
    tiny_speech.model.config.activation_function = "relu"
    with pytest.raises(ExportError, match="exact 'gelu'"):
        write_greedy_decoder(tiny_speech, tmp_path / "d")

"""Int8 products: what is lost, and that what is uneven is made even first."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from liteasr.export import export_encoder
from liteasr.export.graph import Graph
from liteasr.export.int8 import Int8Products
from liteasr.export.products import Affine, FloatProducts, Products, Rows
from liteasr.export.session import open_session
from tiny_forms import mixed
from tiny_whisper import tiny_whisper

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Whichever tests ran before in this process."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def run(
    products: Products, x: np.ndarray, parts: list[Affine], folder: Path, rows: Rows
) -> np.ndarray:
    graph = Graph("product")
    graph.input("x", ["rows", x.shape[1]])
    y = products.chain(graph, "x", parts, rows=rows)
    graph.output("y", y, ["rows", parts[-1].weight.shape[1]])
    graph.save(folder / "product.onnx", properties={})
    found: np.ndarray = open_session(folder / "product.onnx", threads=1).run(None, {"x": x})[0]
    return found


def error(x: np.ndarray, parts: list[Affine], folder: Path, rows: Rows) -> np.ndarray:
    """Relative error of every row."""
    expected = run(FloatProducts(), x, parts, folder, rows)
    found = run(Int8Products(), x, parts, folder, rows)
    missed: np.ndarray = np.linalg.norm(found - expected, axis=1)
    return missed / np.linalg.norm(expected, axis=1)


def dense(bias: bool = True) -> list[Affine]:
    return [Affine(name="a", weight=array(48, 32), bias=array(32) if bias else None)]


@pytest.mark.parametrize("rows", ["alike", "uneven"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_loses_about_a_percent(
    rows: Literal["alike", "uneven"], bias: bool, tmp_path: Path
) -> None:
    assert error(array(20, 48), dense(bias), tmp_path, rows).max() < 0.02


def test_after_gelu_all_values_have_a_place(tmp_path: Path) -> None:
    x = torch.nn.functional.gelu(torch.from_numpy(array(20, 48) * 3)).numpy()
    x[0] = -0.16  # a row without any positive value
    assert error(x, dense(), tmp_path, "after_gelu").max() < 0.03


def test_a_huge_row_does_not_blind_the_others(tmp_path: Path) -> None:
    x = array(20, 48)
    x[3] *= 300
    parts = dense(bias=False)
    assert error(x, parts, tmp_path, "uneven").max() < 0.02
    assert np.delete(error(x, parts, tmp_path, "alike"), 3).min() > 0.1


def test_a_row_of_zeros_stays_finite(tmp_path: Path) -> None:
    parts = dense()
    found = run(Int8Products(), np.zeros((2, 48), np.float32), parts, tmp_path, "uneven")
    np.testing.assert_allclose(found, np.tile(parts[0].bias, (2, 1)))  # type: ignore[arg-type]


def test_a_column_of_zeros_gives_its_bias(tmp_path: Path) -> None:
    (part,) = dense()
    part.weight[:, 5] = 0
    found = run(Int8Products(), array(4, 48), [part], tmp_path, "alike")
    assert part.bias is not None
    np.testing.assert_allclose(found[:, 5], part.bias[5], rtol=1e-6)


@pytest.mark.parametrize("rows", ["alike", "uneven"])
def test_components_of_a_chain_may_differ_in_size(
    rows: Literal["alike", "uneven"], tmp_path: Path
) -> None:
    """As principal components do: only the product of the two factors is what matters."""
    sizes = np.geomspace(1, 1e4, 16, dtype=np.float32)
    chain = [
        Affine(name="down", weight=array(48, 16) * sizes, bias=None),
        Affine(name="up", weight=array(16, 32) / sizes[:, None], bias=array(32)),
    ]
    assert error(array(20, 48), chain, tmp_path, rows).max() < 0.05


def test_no_pair_of_products_overflows_16_bits() -> None:
    graph = Graph("product")
    Int8Products().chain(graph, "x", dense())
    largest = graph._weights["a.weight_int8"].max()
    assert largest == 63
    assert 2 * 255 * int(largest) <= np.iinfo(np.int16).max


def test_channels_of_a_norm_may_differ_in_size(tmp_path: Path) -> None:
    speech = tiny_whisper()
    mixed(speech)
    with torch.no_grad():
        for block in speech.model.get_encoder().layers:
            for norm in (block.self_attn_layer_norm, block.final_layer_norm):
                norm.weight[7] = 100.0
                norm.bias[11] = 0.0
                norm.weight[11] = 0.0
    assert export_encoder(speech, tmp_path / "e.onnx", precision="int8").agreement.relative < 0.1

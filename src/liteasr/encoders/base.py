"""What the passes need to know about an encoder, and who knows it.

An adapter is one small class per family of models. The passes (calibration, planning,
compression) see models only through it, so a new encoder is one file and one entry in
`ADAPTERS` of `encoders/registry.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

__all__ = [
    "PADDING_STRIDE",
    "AttentionSite",
    "EncoderAdapter",
    "EncoderInput",
    "Group",
    "MlpSite",
    "Observation",
    "Target",
]

Group = Literal["attention", "mlp", "convolution"]


@dataclass(frozen=True, slots=True)
class Observation:
    """Where moments are taken: the vectors that enter or leave a module of the encoder."""

    module: str
    side: Literal["input", "output"]

    @property
    def key(self) -> str:
        """Name under which the moments are kept."""
        return f"{self.module}.{self.side}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A linear layer, or a 1x1 convolution, that may be reduced.

    Attributes:
        name: Dotted name inside the encoder, such as ``layers.0.self_attn.q_proj``.
        group: Which of the paper's two thresholds applies; none does to a convolution.
        block: Index of the transformer block.
        in_features: Width of x.
        out_features: Width of y.
        observation: Whose moments give this layer's spectrum. Layers that read the same x
            share one.
    """

    name: str
    group: Group
    block: int
    in_features: int
    out_features: int
    observation: Observation

    @property
    def parameter_count(self) -> int:
        """Weights of the dense layer, without its bias."""
        return self.in_features * self.out_features


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionSite:
    """A self-attention whose layers may be reduced jointly.

    Only where nothing comes between a layer and the products; positions that are rotated into
    queries and keys leave values and output alone.

    Attributes:
        name: Dotted name inside the encoder, such as ``layers.0.self_attn``.
        heads: Number of heads.
        head_dim: Width of a head.
        scaling: Factor of the scores.
        query: Names of the targets.
        key: The same.
        value: The same.
        output: The same.
        rotary: Whether positions are rotated into queries and keys, which are then no pair.
    """

    name: str
    heads: int
    head_dim: int
    scaling: float
    query: str
    key: str
    value: str
    output: str
    rotary: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MlpSite:
    """Two layers with an elementwise function between them, and nothing else: units may go.

    Attributes:
        first: Name of the target that makes the hidden vector.
        activation: Name of the function.
        second: Name of the target that reads it.
        units: Width of the hidden vector in the original model, as its configuration says.
        ends_block: Whether the block puts out the sum of what it had and the second layer's output.
    """

    first: str
    activation: str
    second: str
    units: int
    ends_block: bool = False

    @property
    def hidden(self) -> Observation:
        """Where the hidden vector is seen."""
        return Observation(self.second, "input")


PADDING_STRIDE = 4  # one position of padding in so many counts: about as many as of speech


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderInput:
    """One window of audio as an encoder takes it.

    Attributes:
        tensors: Keyword arguments of the encoder's ``forward``, batch of one.
        valid_positions: Leading output positions that hold audio; the rest is padding.
        duration_s: Audio in this window, in seconds.
    """

    tensors: dict[str, Tensor]
    valid_positions: int
    duration_s: float


class EncoderAdapter(Protocol):
    """Knows one family of encoders."""

    @property
    def model_types(self) -> frozenset[str]:
        """The ``config.model_type`` values this adapter serves."""
        ...

    def prepare_(self, model: Any) -> None:
        """Exchange modules that do not call their layers for equal ones that do; idempotent."""
        ...

    def encoder(self, model: Any) -> nn.Module:
        """The encoder inside a recognizer."""
        ...

    def targets(self, encoder: nn.Module) -> tuple[Target, ...]:
        """The layers that may be reduced, in the order in which they run."""
        ...

    def convolutions(self, encoder: nn.Module) -> tuple[Target, ...]:
        """Convolutions before the first block that budgets of parameters may reduce as well."""
        ...

    def attentions(self, encoder: nn.Module) -> tuple[AttentionSite, ...]:
        """The self-attentions that may be reduced jointly, in running order; may be empty."""
        ...

    def mlps(self, encoder: nn.Module) -> tuple[MlpSite, ...]:
        """The MLPs that may lose hidden units, in running order; may be empty."""
        ...

    def narrowed(self, encoder: nn.Module, site: AttentionSite) -> nn.Module:
        """An attention on the layers that are there now, whose heads have another width."""
        ...

    def window_s(self, processor: Any) -> float:
        """Longest window that the encoder takes at once, in seconds."""
        ...

    def full_window(self, encoder: nn.Module) -> dict[str, Tensor]:
        """Tensors in the shapes of one whole window, on the meta device."""
        ...

    def blocks(self, encoder: nn.Module) -> tuple[str, ...]:
        """Names of the transformer blocks, in running order; none where they are not known."""
        ...

    def embed(
        self, encoder: nn.Module, tensors: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch seq width"]:
        """What enters the first block, for as many positions as the input has.

        Where there are no blocks, the output of the whole encoder.
        """
        ...

    def run_from(
        self, encoder: nn.Module, block: int, hidden: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch seq width"]:
        """The encoder's output, given what enters one of its blocks.

        Positions that blocks add by themselves are those of ``hidden``, which is never padded.
        """
        ...

    def positions(self, encoder: nn.Module) -> int:
        """Positions that the encoder attends over in one whole window."""
        ...

    def readout(self, model: Any) -> Float[Tensor, "read width"]:
        """Every matrix that reads the encoder's output y, stacked: what R y keeps, is seen."""
        ...

    def position_parameters(self, encoder: nn.Module) -> int:
        """Parameters that only hold positions; published sizes leave them out."""
        ...

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """Cut a waveform (16 kHz, mono) into windows the encoder takes."""
        ...

    def cropped(self, window: EncoderInput, positions: int) -> EncoderInput:
        """The same window with its leading positions alone, for `embed`; all where it has less."""
        ...

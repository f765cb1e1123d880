"""Any encoder by name: every linear layer and 1x1 convolution that it calls, chosen by pattern."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.audio import SAMPLE_RATE_HZ, stretches
from liteasr.encoders.base import AttentionSite, EncoderInput, Group, MlpSite, Target
from liteasr.encoders.targets import narrowed, target
from liteasr.errors import UnsupportedModelError
from liteasr.nn import is_projection

__all__ = ["CONFIG_KEY", "MARK", "GenericAdapter", "use_encoder_"]

CONFIG_KEY = "liteasr_encoder"  # in the model's configuration, so that checkpoints keep the choice
MARK = "liteasr_adapter"  # on the encoder itself, whose own configuration says nothing of it
ATTENTION = re.compile(r"att", re.IGNORECASE)


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class GenericAdapter:
    """Knows nothing but a name: chains for every layer, no joint forms, no blocks to run from.

    Every probe runs the whole encoder, and all of its output counts alike, since nothing says what
    reads it. `use_encoder_` makes one.

    Attributes:
        encoder_name: Dotted name of the encoder inside the model.
        layers: Dotted names of the layers inside the encoder.
        shapes: Of the tensors of one whole window, by keyword of the encoder's ``forward``.
        positions_count: Positions of its output for one whole window.
        width: Of its output.
        longest_s: Length of a whole window, in seconds.
    """

    encoder_name: str
    layers: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    positions_count: int
    width: int
    longest_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> GenericAdapter:
        """Read what a configuration holds."""
        layers = tuple(values["layers"])
        shapes = {name: tuple(shape) for name, shape in values["shapes"].items()}
        return cls(**{**values, "layers": layers, "shapes": shapes})

    @property
    def model_types(self) -> frozenset[str]:
        """None: it serves what it is told to."""
        return frozenset()

    def prepare_(self, model: Any) -> None:
        """Mark the encoder as this adapter's."""
        setattr(self.encoder(model), MARK, self)

    def encoder(self, model: Any) -> nn.Module:
        """The module of that name."""
        encoder: nn.Module = model.get_submodule(self.encoder_name)
        return encoder

    def targets(self, encoder: nn.Module) -> tuple[Target, ...]:
        """The chosen layers."""
        return tuple(
            target(name, _group(name), 0, encoder.get_submodule(name)) for name in self.layers
        )

    def convolutions(self, encoder: nn.Module) -> tuple[Target, ...]:
        """None."""
        return ()

    def attentions(self, encoder: nn.Module) -> tuple[AttentionSite, ...]:
        """None: nothing is known of what comes between layers."""
        return ()

    def mlps(self, encoder: nn.Module) -> tuple[MlpSite, ...]:
        """None, for the same reason."""
        return ()

    def narrowed(self, encoder: nn.Module, site: AttentionSite) -> nn.Module:
        """Never asked for, since there are no sites."""
        return narrowed(encoder, site)

    def window_s(self, processor: Any) -> float:
        """As chosen."""
        return self.longest_s

    def full_window(self, encoder: nn.Module) -> dict[str, Tensor]:
        """As the processor made it of silence."""
        return {name: torch.empty(shape, device="meta") for name, shape in self.shapes.items()}

    def blocks(self, encoder: nn.Module) -> tuple[str, ...]:
        """None that are known."""
        return ()

    def embed(
        self, encoder: nn.Module, tensors: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch seq width"]:
        """The output of the whole encoder."""
        return _output(encoder(**tensors))

    def run_from(
        self, encoder: nn.Module, block: int, hidden: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch seq width"]:
        """Nothing is left to run."""
        return hidden

    def positions(self, encoder: nn.Module) -> int:
        """As counted when it was chosen."""
        return self.positions_count

    def readout(self, model: Any) -> Float[Tensor, "read width"]:
        """The identity."""
        return torch.eye(self.width, device=next(model.parameters()).device)

    def position_parameters(self, encoder: nn.Module) -> int:
        """None that are known."""
        return 0

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """What the processor's feature extractor makes of stretches, cut where it is quiet."""
        for window in stretches(waveform, self.longest_s):
            share = len(window) / (self.longest_s * SAMPLE_RATE_HZ)
            yield EncoderInput(
                tensors={name: _extracted(processor, window)[name] for name in self.shapes},
                valid_positions=math.ceil(share * self.positions_count),
                duration_s=len(window) / SAMPLE_RATE_HZ,
            )

    def cropped(self, window: EncoderInput, positions: int) -> EncoderInput:
        """The whole window: nothing says how positions follow from its tensors."""
        return window


def use_encoder_(
    model: Any, processor: Any, name: str, *, pattern: str = "", window_s: float = 30.0
) -> GenericAdapter:
    """Choose the encoder of a model that no adapter knows, or another one than its adapter would.

    The choice is kept in the model's configuration, and checkpoints keep it too. Layers that the
    encoder does not call (some attentions read weights past their layers) are left out.

    Args:
        model: A transformers model.
        processor: Its processor, with a feature extractor.
        name: Dotted name of the encoder, such as ``model.audio_tower``; its ``forward`` must take
            what the feature extractor gives.
        pattern: Regular expression that is searched in the names of layers; all where empty.
        window_s: Longest window that it takes at once, in seconds.

    Raises:
        UnsupportedModelError: There is no such module, it cannot run on what the extractor
            gives, or it calls no layer of such a name.
    """
    try:
        encoder: nn.Module = model.get_submodule(name)
    except AttributeError as error:
        known = ", ".join(child for child, _ in model.named_children())
        raise UnsupportedModelError(
            f"{type(model).__name__} has no module {name!r}: its parts are {known}"
        ) from error
    window = _extracted(processor, np.zeros(round(window_s * SAMPLE_RATE_HZ), dtype=np.float32))
    accepted = inspect.signature(encoder.forward).parameters
    tensors = {key: value for key, value in window.items() if key in accepted}
    called, output = _run(encoder, tensors, name)
    layers = tuple(layer for layer in called if re.search(pattern, layer))
    if not layers:
        raise UnsupportedModelError(
            f"{name} calls no linear layer or 1x1 convolution whose name holds {pattern!r}"
        )
    adapter = GenericAdapter(
        encoder_name=name,
        layers=layers,
        shapes={key: tuple(value.shape) for key, value in tensors.items()},
        positions_count=output.shape[1],
        width=output.shape[2],
        longest_s=window_s,
    )
    setattr(model.config, CONFIG_KEY, asdict(adapter))
    adapter.prepare_(model)
    return adapter


def _run(
    encoder: nn.Module, tensors: Mapping[str, Tensor], name: str
) -> tuple[list[str], Float[Tensor, "1 seq width"]]:
    """The layers that a window goes through, and what comes out."""
    called: list[str] = []
    like = next(encoder.parameters())
    moved = {
        key: value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
        for key, value in tensors.items()
    }
    with ExitStack() as hooks:
        for layer, module in encoder.named_modules():
            if is_projection(module):
                hook = module.register_forward_pre_hook(
                    lambda *_, layer=layer: called.append(layer)
                )
                hooks.enter_context(hook)
        try:
            with torch.inference_mode():
                output = _output(encoder(**moved))
        except Exception as error:  # whatever an unknown module raises
            reads = ", ".join(tensors)
            raise UnsupportedModelError(
                f"{name} cannot run on what the feature extractor gives ({reads}): {error}"
            ) from error
    return list(dict.fromkeys(called)), output


def _output(found: Any) -> Float[Tensor, "batch seq width"]:
    output: Tensor = found if isinstance(found, Tensor) else found[0]
    return output


def _extracted(processor: Any, window: Float[np.ndarray, "samples"]) -> dict[str, Tensor]:
    made = processor.feature_extractor(window, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    return dict(made)


def _group(name: str) -> Group:
    return "attention" if ATTENTION.search(name) else "mlp"

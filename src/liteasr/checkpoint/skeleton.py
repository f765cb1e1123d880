"""A transformers model in the shapes of a plan, filled from safetensors without a copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from liteasr.compression import CompressionReport, install_, reduced_layers
from liteasr.encoders import adapter_for, encoder_parameters, pool_positions_, prepare_
from liteasr.errors import CheckpointError
from liteasr.pivoting import empty_pivots_, pivoted_layers
from liteasr.plan import RankPlan
from liteasr.tensor_file import read_tensors

__all__ = ["build", "fill_", "read_weights", "write_weights"]


def build(
    config: Any, architecture: str, plan: RankPlan, dtype: torch.dtype
) -> tuple[Any, CompressionReport]:
    """A model with uninitialized weights whose encoder has the plan's layers.

    Raises:
        CheckpointError: transformers has no such architecture.
    """
    import transformers
    from transformers.initialization import no_init_weights

    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        raise CheckpointError(
            f"transformers {transformers.__version__} has no {architecture}: upgrade it"
        )
    with no_init_weights():
        model = model_class._from_config(config, dtype=dtype)
    prepare_(model)
    before = encoder_parameters(model)
    encoder = adapter_for(model).encoder(model)
    try:
        layers = reduced_layers(model, plan, dtype=dtype)
        pivots = pivoted_layers(plan, adapter_for(model).attentions(encoder))
        install_(model, layers)
        empty_pivots_(encoder, pivots)
        if plan.pooled_from is not None:
            pool_positions_(model, plan.pooled_from)
    except AttributeError as error:
        raise CheckpointError(f"the plan does not fit {architecture}: {error}") from error
    after = encoder_parameters(model)
    report = CompressionReport(
        parameters_before=before,
        parameters_after=after,
        replaced=len(layers),
        dense=len(plan) - len(layers),
    )
    return model, report


def fill_(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights in place; every parameter must be given, tied ones once.

    Raises:
        CheckpointError: A weight is missing, unknown or has another shape.
    """
    nothing = {n: torch.empty(t.shape) for n, t in model.state_dict().items() if not t.numel()}
    try:
        missing, unknown = model.load_state_dict(nothing | weights, strict=False, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"weights do not fit the model: {error}") from error
    missing = sorted(set(missing) - set(_tied(model)))
    if missing or unknown:
        raise CheckpointError(
            f"weights do not fit the model: missing {missing[:5]}, unknown {unknown[:5]}"
        )
    model.tie_weights()  # type: ignore[operator]
    model.eval()


def write_weights(model: nn.Module, directory: Path, rename: Any = dict) -> tuple[str, ...]:
    """Write ``model.safetensors``, in shards where it is large; returns the file names.

    Raises:
        StorageError: The disk refused.
    """
    from huggingface_hub import save_torch_state_dict
    from safetensors import SafetensorError

    tied = _tied(model)
    weights = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name not in tied and tensor.numel()  # an identity alone leaves nothing to keep
    }
    try:
        save_torch_state_dict(rename(weights), directory)
    except SafetensorError as error:
        raise OSError(str(error)) from error  # atomic_directory reports it
    return tuple(sorted(path.name for path in directory.glob("*.safetensors")))


def read_weights(directory: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Read the named shards of a checkpoint.

    Raises:
        CheckpointError: A file is missing (pickles are never opened).
        IntegrityError: A file is truncated.
    """
    weights: dict[str, Tensor] = {}
    for name in names:
        if not (file := directory / name).is_file():
            raise CheckpointError(
                f"{file} is missing: copy the whole checkpoint directory; pickles are not opened"
            )
        weights.update(read_tensors(file))
    return weights


def _tied(model: Any) -> tuple[str, ...]:
    """Names that repeat another parameter and are not stored."""
    if not getattr(model.config, "tie_word_embeddings", True):
        return ()
    return tuple(getattr(model, "_tied_weights_keys", None) or ())

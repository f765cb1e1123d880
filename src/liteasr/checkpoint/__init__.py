"""Compressed models on disk: our layout and the published one."""

from liteasr.checkpoint.format import Manifest, is_checkpoint
from liteasr.checkpoint.lite_whisper import require_chains
from liteasr.checkpoint.store import CompressedModel, Layout, load, load_model, require_place, save

__all__ = [
    "CompressedModel",
    "Layout",
    "Manifest",
    "is_checkpoint",
    "load",
    "load_model",
    "require_chains",
    "require_place",
    "save",
]

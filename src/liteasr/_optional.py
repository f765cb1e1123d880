"""Optional packages are asked for where they are used, never at import time."""

import importlib
import importlib.util
from types import ModuleType

from liteasr.errors import MissingDependencyError

__all__ = ["is_installed", "require", "require_installed"]


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: Dotted name of the module, such as ``"jiwer"``.
        extra: The extra of liteasr that installs it.

    Raises:
        MissingDependencyError: The package is not installed; holds the exact pip line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise  # the package is there, but one of its own needs is not
        raise _missing(module, extra) from error


def require_installed(module: str, *, extra: str) -> None:
    """Check that an optional package is there, which takes less time than importing it.

    Args:
        module: Name of the package.
        extra: The extra of liteasr that installs it.

    Raises:
        MissingDependencyError: The package is not installed; holds the exact pip line.
    """
    if not is_installed(module):
        raise _missing(module, extra)


def is_installed(module: str) -> bool:
    """Whether an optional package is there."""
    return importlib.util.find_spec(module) is not None


def _missing(module: str, extra: str) -> MissingDependencyError:
    name = module.split(".")[0]
    return MissingDependencyError(f"{name} is needed for this: pip install 'liteasr[{extra}]'")

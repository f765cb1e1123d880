"""Optional packages are asked for where they are used, never at import time."""

import importlib
from types import ModuleType

from liteasr.errors import MissingDependencyError

__all__ = ["require"]


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
        raise MissingDependencyError(
            f"{error.name} is needed for this: pip install 'liteasr[{extra}]'"
        ) from error

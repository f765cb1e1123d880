"""liteasr models: what is at hand."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from liteasr.cli.options import Json, Quiet, start
from liteasr.encoders import supported_model_types
from liteasr.sources import available_models

__all__ = ["models_command"]


def models_command(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the models that can be named without a path, and the architectures supported.

    Example: liteasr models
    """
    screen = start(quiet=quiet, as_json=as_json)
    found = available_models()
    table = Table(caption="architectures: " + ", ".join(supported_model_types()))
    for heading in ("model", "from", "size", "on this machine"):
        table.add_column(heading)
    for item in found:
        size = "" if item.size_bytes is None else f"{item.size_bytes / 1e6:.0f} MB"
        table.add_row(item.name, item.origin, size, "yes" if item.cached else "fetched when used")
    screen.result([asdict(item) for item in found], table)

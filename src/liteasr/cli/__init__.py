"""The command line."""

from liteasr.cli.app import app, main

__all__ = ["app", "main"]

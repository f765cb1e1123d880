"""What the Hugging Face hub or its local cache says about a model, before anything is opened."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of

__all__ = ["download_folder", "find_damaged_weights", "hub_errors", "is_hub_id", "read_config"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(ref: str) -> bool:
    """Say whether a name could be ``owner/model`` and is no file or folder here."""
    return bool(_HUB_ID.fullmatch(ref)) and not Path(ref).exists()


def read_config(ref: str) -> dict[str, Any]:
    """Read ``config.json`` of a local folder or a hub repository.

    Raises:
        IntegrityError: The file is not JSON.
        SourceError: There is no such model, or the hub cannot be reached.
    """
    path = Path(ref) / "config.json"
    if not path.is_file():
        from huggingface_hub import hf_hub_download

        with hub_errors(ref):
            path = Path(hf_hub_download(ref, "config.json"))
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(
            f"{path} is not JSON ({error}; SHA-256 {sha256_of(path)}): fetch it again"
        ) from error
    if not isinstance(config, dict):
        raise IntegrityError(f"{path} holds no JSON object: fetch it again")
    return config


def download_folder(ref: str) -> Path:
    """Download a hub repository whole and give its folder.

    Raises:
        SourceError: There is no such repository, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    with hub_errors(ref):
        return Path(snapshot_download(ref))


def find_damaged_weights(ref: str) -> Path | None:
    """Find the first safetensors file, local or cached, whose header does not fit its size."""
    from huggingface_hub import snapshot_download
    from safetensors import SafetensorError, safe_open

    folder = Path(ref)
    if not folder.is_dir():
        with hub_errors(ref):
            folder = Path(snapshot_download(ref, local_files_only=True))
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError:
            return path
    return None


@contextmanager
def hub_errors(ref: str) -> Iterator[None]:
    """Turn what the hub's client raises into a ``SourceError`` with the fix.

    Raises:
        SourceError: The repository or file does not exist, is not allowed or cannot be reached.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise SourceError(f"{ref} is gated: accept its terms, then run 'hf auth login'") from error
    except RepositoryNotFoundError as error:
        raise SourceError(f"the hub has no model {ref}: check the name") from error
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise SourceError(
            f"{ref} is not in the local cache and the hub cannot be reached: check the network, "
            "or pass a local folder"
        ) from error
    except EntryNotFoundError as error:
        raise SourceError(f"{ref} has no config.json: it is no transformers model") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{ref} cannot be fetched: {error}") from error

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

        with hub_errors(ref, file="config.json"):
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


def download_folder(ref: str, **options: Any) -> Path:
    """Download a hub repository whole and give its folder.

    Args:
        ref: ``owner/model``.
        **options: What ``snapshot_download`` takes: ``revision``, ``cache_dir`` and so on.

    Raises:
        SourceError: There is no such repository, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    wanted = {name: options.get(name) for name in ("revision", "local_files_only")}
    with hub_errors(ref, **wanted):
        return Path(snapshot_download(ref, **options))


def find_damaged_weights(ref: str) -> Path | None:
    """Find the first safetensors file, local or cached, whose header does not fit its size."""
    from huggingface_hub import snapshot_download
    from safetensors import SafetensorError, safe_open

    folder = Path(ref)
    if not folder.is_dir():
        with hub_errors(ref, local_files_only=True):
            folder = Path(snapshot_download(ref, local_files_only=True))
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError:
            return path
    return None


@contextmanager
def hub_errors(
    ref: str,
    *,
    file: str | None = None,
    revision: str | None = None,
    local_files_only: bool | None = None,
) -> Iterator[None]:
    """Turn what the hub's client raises into a ``SourceError`` with the fix.

    Args:
        ref: The repository that is asked for.
        file: The file that is asked for, where it is one.
        revision: The revision that is asked for, where it is not the main one.
        local_files_only: Whether the network was ruled out.

    Raises:
        SourceError: The repository or file does not exist, is not allowed or cannot be reached.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    place = f"{constants.ENDPOINT}/{ref}"
    what = " of ".join(filter(None, (file, ref))) + (f" at revision {revision}" if revision else "")
    try:
        yield
    except GatedRepoError as error:
        raise SourceError(
            f"{ref} is gated: accept its terms at {place}, then run 'hf auth login'"
        ) from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            f"the hub has no model {ref}, or it is private: check the name, or run 'hf auth login'"
        ) from error
    except RevisionNotFoundError as error:
        raise SourceError(f"there is no {what}: see {place}/commits/main") from error
    except (LocalEntryNotFoundError, ConnectionError) as error:
        why, fix = _unreachable(local_files_only)
        raise SourceError(
            f"{what} is not in the local cache and {why}: {fix}, or pass a local folder"
        ) from error
    except EntryNotFoundError as error:
        raise SourceError(
            f"{ref} has no {file or 'such file'}: see {place}/tree/main for what it has"
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{what} cannot be fetched: {' '.join(str(error).split())}") from error


def _unreachable(local_files_only: bool | None) -> tuple[str, str]:
    from huggingface_hub import constants

    if local_files_only:
        return "only local files are allowed", "leave local_files_only out once"
    if constants.HF_HUB_OFFLINE:
        return "the hub cannot be reached in offline mode", "unset HF_HUB_OFFLINE"
    return "the hub cannot be reached", "check the network"

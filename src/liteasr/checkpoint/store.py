"""Saving and opening compressed models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from liteasr.atomic import atomic_directory, require_free
from liteasr.calibration import Provenance
from liteasr.checkpoint import lite_whisper, skeleton
from liteasr.checkpoint.companions import read_generation, read_processor
from liteasr.checkpoint.format import MANIFEST_NAME, Manifest, is_checkpoint, read_config, verified
from liteasr.compression import CompressionReport
from liteasr.devices import find_device
from liteasr.errors import CheckpointError, StorageError
from liteasr.integrity import sha256_of
from liteasr.plan import RankPlan
from liteasr.progress import Track, silent
from liteasr.refinement_report import RefinementReport
from liteasr.sources import SpeechModel, load_dense
from liteasr.sources.hub import download_folder, is_hub_id
from liteasr.sources.hub import read_config as hub_config
from liteasr.sources.resolve import COMPRESSED_TYPES

__all__ = ["CompressedModel", "Layout", "load", "load_model", "require_place", "save"]

Layout = Literal["liteasr", "lite-whisper"]


@dataclass(frozen=True, kw_only=True)
class CompressedModel:
    """A recognizer with a reduced encoder, and how it came to be.

    Attributes:
        speech: The model, ready to transcribe.
        plan: The rank plan in effect.
        report: Encoder sizes before and after.
        calibration: Which audio chose the components; None where it is not known.
        refinement: How the encoder was trained afterwards; None where it was not.
    """

    speech: SpeechModel
    plan: RankPlan
    report: CompressionReport
    calibration: Provenance | None = None
    refinement: RefinementReport | None = None

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        layout: Layout = "liteasr",
        overwrite: bool = False,
    ) -> Path:
        """Write a checkpoint directory; see `save`."""
        return save(self, directory, layout=layout, overwrite=overwrite)


def save(
    compressed: CompressedModel,
    directory: str | os.PathLike[str],
    *,
    layout: Layout = "liteasr",
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint directory, whole or not at all.

    Args:
        compressed: The model.
        directory: Where; must not exist or be empty unless ``overwrite``.
        layout: ``liteasr``, or ``lite-whisper`` for the published layout, which transformers
            opens through its remote code too.
        overwrite: Replace the checkpoint that is there once the new one is complete.

    Raises:
        CheckpointError: The layout cannot hold this model.
        StorageError: What is there must not be replaced, or the disk refused.
    """
    if layout not in ("liteasr", "lite-whisper"):
        raise ValueError(f"layout must be 'liteasr' or 'lite-whisper', got {layout!r}")
    require_place(directory, overwrite=overwrite)
    speech, plan = compressed.speech, compressed.plan
    config, rename = _layout_of(speech, plan, layout)
    with atomic_directory(directory, overwrite=overwrite) as folder:
        names = skeleton.write_weights(speech.model, folder, rename)
        speech.processor.save_pretrained(folder)
        if speech.model.can_generate():
            speech.model.generation_config.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        manifest = Manifest(
            name=speech.name,
            origin=speech.origin,
            plan=plan,
            report=compressed.report,
            calibration=compressed.calibration,
            refinement=compressed.refinement,
            files={name: sha256_of(folder / name) for name in names},
        )
        (folder / MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return Path(directory)


def require_place(directory: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check that a checkpoint may be written here; ``overwrite`` replaces checkpoints only.

    Raises:
        StorageError: Something else is there, or it is or holds the current directory.
    """
    place = Path(directory).resolve()
    if Path.cwd().is_relative_to(place):  # it would be replaced under the user's feet
        raise StorageError(f"{place} is or holds the current directory: choose a new folder in it")
    if not overwrite:
        require_free(place)
    elif place.exists() and not is_checkpoint(place) and not _is_empty(place):
        raise StorageError(
            f"{place} is no liteasr checkpoint, so it is not overwritten: choose another name or "
            "remove it first"
        )


def load(
    directory: str | os.PathLike[str],
    *,
    verify: bool = True,
    device: str | torch.device | None = None,
) -> CompressedModel:
    """Open a checkpoint directory, ours or a published efficient-speech one.

    Args:
        directory: A local directory.
        verify: Check the weights against the SHA-256 they were saved with.
        device: Where it shall compute, see `find_device`; the CPU where left out.

    Raises:
        CheckpointError: The directory is not a checkpoint, or an incomplete one.
        IntegrityError: A weights file is truncated or was changed.
        ValueError: There is no such device.
    """
    place = find_device(device)
    folder = Path(directory).resolve()  # "." has no name
    config = read_config(folder)
    kind = config.get("model_type")
    if kind not in ("liteasr", "lite-whisper"):
        raise CheckpointError(
            f"{folder} is not a compressed checkpoint: model_type is {kind!r}; "
            "open other models with liteasr.load_model"
        )
    read = _load_ours if kind == "liteasr" else _load_published
    compressed = read(folder, config, verify=verify)
    compressed.speech.model.to(place)
    return compressed


def load_model(
    ref: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    track: Track = silent,
) -> SpeechModel:
    """Open any model that liteasr knows, dense or compressed.

    Args:
        ref: A bundled name (``whisper-base``), a Hugging Face directory or hub id, a
            CTranslate2 directory, an openai-whisper ``.pt`` file, or a checkpoint directory.
        device: Where it shall compute, see `find_device`; the CPU where left out.
        track: Shows progress of downloads.

    Raises:
        CheckpointError: A compressed checkpoint is incomplete.
        SourceError: The weights cannot be found or read.
        UnsupportedModelError: No adapter knows the architecture.
        ValueError: There is no such device.
    """
    place = find_device(device)
    speech = _opened(ref, track)
    speech.model.to(place)
    return speech


def _opened(ref: str | os.PathLike[str], track: Track) -> SpeechModel:
    path = Path(ref).expanduser()
    if path.is_dir():
        return load(path).speech if is_checkpoint(path) else load_dense(path, track=track)
    if is_hub_id(str(ref)) and hub_config(str(ref)).get("model_type") in COMPRESSED_TYPES:
        speech = load(download_folder(str(ref))).speech
        return replace(speech, name=str(ref).rsplit("/", 1)[-1])  # the folder is named by a commit
    return load_dense(ref, track=track)


def _is_empty(place: Path) -> bool:
    return place.is_dir() and not any(place.iterdir())


def _layout_of(
    speech: SpeechModel, plan: RankPlan, layout: Layout
) -> tuple[dict[str, Any], Callable[[dict[str, Tensor]], dict[str, Tensor]]]:
    """The ``config.json`` of a layout and what it calls the weights."""
    base = json.loads(speech.model.config.to_json_string(use_diff=False))
    if layout == "liteasr":
        architecture = type(speech.model).__name__
        return (
            {"model_type": "liteasr", "architecture": architecture, "base_config": base},
            dict,
        )
    if (kind := speech.model.config.model_type) != "whisper":
        raise CheckpointError(f"the lite-whisper layout holds Whisper, not {kind}")
    ranks = lite_whisper.low_rank_config(plan, base["encoder_layers"])
    published = {
        **base,
        "model_type": "lite-whisper",
        "architectures": ["LiteWhisperForConditionalGeneration"],
        "auto_map": lite_whisper.REMOTE_CODE,
        "low_rank_config": ranks,
    }
    return published, partial(lite_whisper.to_published, plan=plan)


def _load_ours(folder: Path, config: dict[str, Any], *, verify: bool) -> CompressedModel:
    manifest = Manifest.read(folder)
    try:
        base = dict(config["base_config"])
        model_type, architecture = base.pop("model_type"), config["architecture"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is incomplete: no {error}") from error
    base_config = _base_config(folder, model_type, base)
    with verified(manifest if verify else None, folder):
        weights = skeleton.read_weights(folder, manifest.files)
        return _assemble(folder, base_config, architecture, manifest.plan, weights, manifest)


def _load_published(folder: Path, config: dict[str, Any], *, verify: bool) -> CompressedModel:
    manifest = Manifest.read(folder) if (folder / MANIFEST_NAME).is_file() else None
    plan = lite_whisper.plan_from_config(config, folder)
    ours = ("model_type", "auto_map", "architectures", "low_rank_config")
    dense = {key: value for key, value in config.items() if key not in ours}
    base = _base_config(folder, "whisper", dense)
    names = lite_whisper.weight_files(folder) if manifest is None else manifest.files
    kept = plan if manifest is None else manifest.plan
    with verified(manifest if verify else None, folder):
        weights = lite_whisper.to_live(skeleton.read_weights(folder, names), plan)
        return _assemble(folder, base, "WhisperForConditionalGeneration", kept, weights, manifest)


def _base_config(folder: Path, model_type: str, values: dict[str, Any]) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    file = folder / "config.json"
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{file}: this transformers knows no base model_type {model_type!r}: upgrade it"
        )
    try:
        return AutoConfig.for_model(model_type, **values)
    except Exception as error:  # whatever the configuration class raises: it checks by itself
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file} does not configure a {model_type}: {reason}") from error


def _assemble(
    folder: Path,
    config: Any,
    architecture: str,
    plan: RankPlan,
    weights: dict[str, Tensor],
    manifest: Manifest | None,
) -> CompressedModel:
    dtype = next((w.dtype for w in weights.values() if w.is_floating_point()), torch.float32)
    model, report = skeleton.build(config, architecture, plan, dtype)
    skeleton.fill_(model, weights)
    processor = read_processor(folder, config)
    if model.can_generate():
        model.generation_config = read_generation(folder, config, processor)
    speech = SpeechModel(
        name=folder.name,
        origin=str(folder) if manifest is None else manifest.origin,
        model=model,
        processor=processor,
    )
    return CompressedModel(
        speech=speech,
        plan=plan,
        report=report,
        calibration=None if manifest is None else manifest.calibration,
        refinement=None if manifest is None else manifest.refinement,
    )

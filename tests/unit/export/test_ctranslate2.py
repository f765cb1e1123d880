"""CTranslate2 decodes what the original decoder decodes, from the directory written here."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch

from liteasr.errors import ExportError, StorageError, UnsupportedModelError
from liteasr.export import ctranslate2 as export
from liteasr.sources import SpeechModel
from scripted_whisper import english_only
from tiny_forms import FORMS, MERGEABLE


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("positions", [1500, 81, 7, 1])
@pytest.mark.parametrize("heads_are_named", [True, False])
def test_the_decoder_is_the_same_at_any_length(
    tiny_speech: SpeechModel, cache: Path, positions: int, heads_are_named: bool
) -> None:
    speech = english_only(tiny_speech) if heads_are_named else tiny_speech
    if not heads_are_named:
        speech.model.generation_config.alignment_heads = None
    whisper = ctranslate2.models.Whisper(str(export.decoder_directory(speech)))
    states = torch.randn(1, positions, 64)
    config = speech.model.generation_config
    start = config.decoder_start_token_id
    with torch.no_grad():
        ids = torch.tensor([[start]])
        logits = speech.model(encoder_outputs=(states,), decoder_input_ids=ids).logits[0, -1]
    (found,) = whisper.generate(
        ctranslate2.StorageView.from_array(states.numpy()), [[start]], beam_size=1, max_length=20,
        suppress_blank=False, suppress_tokens=None, return_no_speech_prob=True,
    )  # fmt: skip
    expected = float(logits.softmax(-1)[config.no_timestamps_token_id - 1])
    assert found.no_speech_prob == pytest.approx(expected, rel=1e-4)


def test_faster_whisper_reads_the_directory(tiny_speech: SpeechModel, tmp_path: Path) -> None:
    from faster_whisper import WhisperModel

    directory = export.write_decoder(tiny_speech, tmp_path / "tiny", quantization="int8")
    model = WhisperModel(str(directory), device="cpu", compute_type="int8")
    assert model.feat_kwargs["feature_size"] == 80
    assert model.hf_tokenizer.token_to_id("<|0.00|>") == (
        tiny_speech.model.generation_config.no_timestamps_token_id + 1
    )
    with pytest.raises(StorageError, match="exists already"):
        export.write_decoder(tiny_speech, directory)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
@pytest.mark.parametrize("write", [export.write_decoder, export.export_ctranslate2])
def test_writing_leaves_the_model_as_it_was(
    tiny_speech: SpeechModel, tmp_path: Path, write: Any, quantization: str
) -> None:
    """CTranslate2 rounds weights where they lie."""
    before = {name: weight.clone() for name, weight in tiny_speech.model.state_dict().items()}
    write(tiny_speech, tmp_path / "written", quantization=quantization)
    torch.testing.assert_close(tiny_speech.model.state_dict(), before, rtol=0, atol=0)


def test_a_decoder_is_written_once_and_shared_by_all_compressions(
    tiny_speech: SpeechModel, cache: Path
) -> None:
    first = export.decoder_directory(tiny_speech)
    written = (first / "model.bin").stat().st_mtime_ns
    with torch.no_grad():
        tiny_speech.model.model.encoder.conv1.weight.zero_()
    assert export.decoder_directory(tiny_speech) == first
    assert (first / "model.bin").stat().st_mtime_ns == written
    assert export.decoder_directory(tiny_speech, "int8") != first
    with torch.no_grad():
        tiny_speech.model.model.decoder.layer_norm.bias.add_(1.0)
    assert export.decoder_directory(tiny_speech) != first


def test_what_else_is_read_is_part_of_the_name(tiny_speech: SpeechModel) -> None:
    before = export.decoder_fingerprint(tiny_speech)
    tiny_speech.model.generation_config.suppress_tokens = [1]
    after = export.decoder_fingerprint(tiny_speech)
    assert before != after
    tiny_speech.model.config.tie_word_embeddings = False
    assert export.decoder_fingerprint(tiny_speech) != after


def test_how_a_model_was_loaded_is_no_part_of_the_name(tiny_speech: SpeechModel) -> None:
    """A checkpoint says its dtype, and the model that it was made from may not."""
    before = export.decoder_fingerprint(tiny_speech)
    tiny_speech.model.config.dtype = "float32"
    tiny_speech.model.config._name_or_path = "somewhere/else"
    tiny_speech.model.generation_config.forced_decoder_ids = None
    assert export.decoder_fingerprint(tiny_speech) == before


def test_another_process_may_be_faster(
    tiny_speech: SpeechModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost_race(speech: SpeechModel, place: Path, *, quantization: str) -> Path:
        place.mkdir(parents=True)
        raise StorageError("exists already")

    monkeypatch.setattr(export, "write_decoder", lost_race)
    assert export.decoder_directory(tiny_speech).is_dir()

    def full_disk(speech: SpeechModel, place: Path, *, quantization: str) -> Path:
        raise StorageError("disk full")

    monkeypatch.setattr(export, "write_decoder", full_disk)
    with pytest.raises(StorageError, match="disk full"):
        export.decoder_directory(tiny_speech, "int8")


def test_other_architectures_are_refused(tiny_speech: SpeechModel) -> None:
    tiny_speech.model.config.model_type = "moonshine"
    with pytest.raises(UnsupportedModelError, match="serves Whisper, and tiny is a 'moonshine'"):
        export.decoder_directory(tiny_speech)


def test_a_placeholder_is_all_there_is_of_the_encoder(tmp_path: Path) -> None:
    from tiny_whisper import tiny_whisper

    sizes = []
    for blocks in (1, 6):
        directory = export.write_decoder(tiny_whisper(blocks=blocks), tmp_path / str(blocks))
        sizes.append((directory / "model.bin").stat().st_size)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("form", MERGEABLE)
def test_a_whole_model_encodes_and_decodes_as_the_compressed_one(
    tiny_speech: SpeechModel, tmp_path: Path, form: str
) -> None:
    speech = english_only(tiny_speech)
    FORMS[form](speech)
    agreement = export.export_ctranslate2(speech, tmp_path / "whole")
    assert agreement.relative < 1e-5
    whisper = ctranslate2.models.Whisper(str(tmp_path / "whole"))
    features = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32)
    found = np.array(whisper.encode(ctranslate2.StorageView.from_array(features)))
    with torch.no_grad():
        expected = speech.model.get_encoder()(torch.from_numpy(features)).last_hidden_state
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_int8_stays_near_and_other_numbers_are_refused(
    tiny_speech: SpeechModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement = export.export_ctranslate2(tiny_speech, tmp_path / "int8", quantization="int8")
    assert 1e-5 < agreement.relative < 0.2
    monkeypatch.setattr(export, "TOLERANCES", {"float32": 1e-12})
    with pytest.raises(ExportError, match="nothing was written"):
        export.export_ctranslate2(tiny_speech, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()

"""Merged back to full matrices, a compressed model stays what it is and loads anywhere."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from liteasr.encoders import adapter_for, require_dense
from liteasr.errors import ExportError, StorageError
from liteasr.export import export_dense
from liteasr.nn import LowRankLinear
from tiny_forms import FORMS, MERGEABLE, WIDTH, mixed
from tiny_whisper import tiny_whisper


@pytest.mark.parametrize("form", MERGEABLE)
def test_loads_as_an_ordinary_whisper_that_gives_the_same(form: str, tmp_path: Path) -> None:
    speech = tiny_whisper()
    FORMS[form](speech)
    agreement = export_dense(speech, tmp_path / "dense")
    assert agreement.relative < 1e-5
    opened = WhisperForConditionalGeneration.from_pretrained(tmp_path / "dense")
    require_dense(opened, "dense")
    features = torch.randn(1, 80, 3000)
    tokens = torch.arange(6)[None]
    with torch.inference_mode():
        found, expected = (
            model(input_features=features, decoder_input_ids=tokens).logits
            for model in (opened, speech.model)
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_processor_and_the_languages_come_along(tmp_path: Path) -> None:
    speech = tiny_whisper()
    mixed(speech)
    export_dense(speech, tmp_path / "dense")
    opened = WhisperForConditionalGeneration.from_pretrained(tmp_path / "dense")
    assert opened.generation_config.lang_to_id == speech.model.generation_config.lang_to_id
    processor = WhisperProcessor.from_pretrained(tmp_path / "dense")
    assert processor.tokenizer.get_vocab() == speech.processor.tokenizer.get_vocab()
    assert (tmp_path / "dense" / "preprocessor_config.json").is_file()


def test_the_compressed_model_is_left_as_it_was(tmp_path: Path) -> None:
    speech = tiny_whisper()
    mixed(speech)
    before = {name: tensor.clone() for name, tensor in speech.model.state_dict().items()}
    export_dense(speech, tmp_path / "dense")
    after = speech.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_untied_head_stays_untied(tmp_path: Path) -> None:
    speech = tiny_whisper(tie_word_embeddings=False)
    with torch.no_grad():
        speech.model.proj_out.weight.normal_()
    export_dense(speech, tmp_path / "dense")
    opened = WhisperForConditionalGeneration.from_pretrained(tmp_path / "dense")
    assert torch.equal(opened.proj_out.weight, speech.model.proj_out.weight)


def test_what_cannot_be_merged_is_named(tmp_path: Path) -> None:
    speech = tiny_whisper()
    encoder = adapter_for(speech.model).encoder(speech.model)
    encoder.layers[0].fc1 = nn.Sequential(LowRankLinear(WIDTH, 4 * WIDTH, 3))  # type: ignore[index, union-attr]
    with pytest.raises(ExportError, match=r"layers.0.fc1 is a Sequential"):
        export_dense(speech, tmp_path / "dense")
    assert not list(tmp_path.iterdir())


def test_a_place_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / "mine").write_text("")
    with pytest.raises(StorageError, match="exists already"):
        export_dense(tiny_whisper(), tmp_path / "dense")

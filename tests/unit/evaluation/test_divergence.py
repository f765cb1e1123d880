"""Laws of the decoder's divergence from the dense model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from liteasr.calibration import calibrate
from liteasr.compression import compress_
from liteasr.corpus import Corpus, Utterance, load_corpus
from liteasr.encoders import adapter_for
from liteasr.errors import CalibrationError, CorpusError, TranscriptionError
from liteasr.evaluation import Divergence, UtteranceDivergence, dense_reference, measure_divergence
from liteasr.plan import ThresholdConfig, plan_ranks, spectra_of
from liteasr.sources import SpeechModel, fetch, load_dense
from tiny_audio import write_wav

MakeSpeech = Callable[..., SpeechModel]
KINDS = ["multilingual", "English-only"]


def english_only(speech: SpeechModel) -> SpeechModel:
    speech.model.generation_config.is_multilingual = False
    speech.model.generation_config.lang_to_id = None
    return speech


@pytest.fixture(params=KINDS)
def speech(request: pytest.FixtureRequest, tiny_speech: SpeechModel) -> SpeechModel:
    return english_only(tiny_speech) if request.param == "English-only" else tiny_speech


@pytest.fixture
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)


@torch.no_grad()
def perturb_(speech: SpeechModel, size: float) -> SpeechModel:
    """Add the same noise, scaled, to every weight of the encoder."""
    torch.manual_seed(1)
    for parameter in speech.model.get_encoder().parameters():
        parameter.add_(torch.randn_like(parameter) * size)
    return speech


def ending_early(speech: SpeechModel) -> SpeechModel:
    """Make greedy transcripts end after about two tokens."""
    speech.model.generation_config.exponential_decay_length_penalty = (2, 1e3)
    return speech


def test_a_model_does_not_diverge_from_itself(speech: SpeechModel, corpus: Corpus) -> None:
    found = measure_divergence(dense_reference(speech, corpus), speech)
    assert abs(found.mean_kl) < 1e-6
    assert found.agreement == 1.0
    assert len(found.utterances) == len(corpus)


def test_a_fitted_context_diverges_until_it_is_the_whole_window(
    tiny_speech: SpeechModel, corpus: Corpus
) -> None:
    reference = dense_reference(tiny_speech, corpus)
    short, whole = (
        measure_divergence(reference, tiny_speech, context=context) for context in (0, 1500)
    )
    assert short.mean_kl > 1e-6
    assert abs(whole.mean_kl) < 1e-6


def test_divergence_grows_with_the_change(speech: SpeechModel, corpus: Corpus) -> None:
    reference = dense_reference(speech, corpus)
    initial = {name: value.clone() for name, value in speech.model.state_dict().items()}
    means = []
    for size in (0.003, 0.03, 0.3):
        speech.model.load_state_dict(initial)
        found = measure_divergence(reference, perturb_(speech, size))
        low, high = found.interval
        assert 0 < low < found.mean_kl < high
        means.append(found.mean_kl)
    assert means == sorted(means)
    assert found.agreement < 1.0


@pytest.mark.parametrize("ends", [True, False])
def test_it_agrees_with_the_definition(
    speech: SpeechModel, make_speech: MakeSpeech, corpus: Corpus, ends: bool
) -> None:
    if ends:
        ending_early(speech)
    reduced = perturb_(make_speech(), 0.1)
    reference = dense_reference(speech, corpus.utterances[:1])
    (dense,) = reference.utterances
    (one,) = measure_divergence(reference, reduced).utterances
    (window,) = adapter_for(speech.model).inputs(speech.processor, corpus[0].load())
    ids = torch.tensor([[*dense.prompt, *dense.targets]])[:, :-1]
    p, q = (
        model(**window.tensors, decoder_input_ids=ids).logits[0, len(dense.prompt) - 1 :]
        .detach().double().softmax(-1).numpy()
        for model in (speech.model, reduced.model)
    )  # fmt: skip
    assert one.tokens == len(dense.targets) == len(p)
    assert one.kl == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-6)
    assert one.agreed == int((p.argmax(1) == q.argmax(1)).sum())


def test_the_end_token_counts_where_the_transcript_ends(
    speech: SpeechModel, corpus: Corpus
) -> None:
    end = speech.model.generation_config.eos_token_id
    room = speech.model.config.max_target_positions
    for cut in dense_reference(speech, corpus.utterances[:2]).utterances:
        assert end not in cut.targets
        assert len(cut.prompt) + len(cut.targets) == room
    for whole in dense_reference(ending_early(speech), corpus.utterances[:2]).utterances:
        assert whole.targets.index(end) == len(whole.targets) - 1 < 10


def test_the_transcript_is_greedy(speech: SpeechModel, corpus: Corpus) -> None:
    reference = dense_reference(speech, corpus.utterances[:1])
    (dense,) = reference.utterances
    likeliest = (dense.states @ reference.head.T).argmax(dim=-1)
    assert tuple(likeliest.tolist()) == dense.targets


def test_the_order_of_utterances_does_not_matter(
    speech: SpeechModel, make_speech: MakeSpeech, corpus: Corpus
) -> None:
    reduced = perturb_(make_speech(), 0.1)
    forward, backward = (
        measure_divergence(dense_reference(speech, order), reduced)
        for order in (corpus.utterances, corpus.utterances[::-1])
    )
    assert forward.utterances == backward.utterances[::-1]
    assert forward.mean_kl == backward.mean_kl
    assert forward.agreement == backward.agreement


def test_the_reference_outlives_compression_in_place(
    tiny_speech: SpeechModel, make_speech: MakeSpeech, corpus: Corpus
) -> None:
    reference = dense_reference(tiny_speech, corpus)
    made = calibrate(tiny_speech, corpus, frames="all")
    spectra = spectra_of(tiny_speech, made, weighed=False)
    plan = plan_ranks(tiny_speech, spectra, ThresholdConfig(attention=0.6, mlp=0.6, multiple_of=1))
    compress_(tiny_speech, plan, spectra)
    found = measure_divergence(reference, tiny_speech)
    assert found.mean_kl > 0
    assert found == measure_divergence(dense_reference(make_speech(), corpus), tiny_speech)


def test_the_prompt_asks_in_the_language_named_or_heard(
    tiny_speech: SpeechModel, corpus: Corpus
) -> None:
    token = tiny_speech.processor.tokenizer.convert_tokens_to_ids
    start, task, times = map(token, ("<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"))
    named = Utterance(id="de", audio=corpus[0].audio, language="de_DE")
    prompts = [one.prompt for one in dense_reference(tiny_speech, [named, corpus[0]]).utterances]
    assert prompts[0] == (start, token("<|de|>"), task, times)
    assert prompts[1][1] in tiny_speech.model.generation_config.lang_to_id.values()
    (plain,) = dense_reference(english_only(tiny_speech), corpus.utterances[:1]).utterances
    assert plain.prompt == (start, times)
    with pytest.raises(TranscriptionError, match="English-only"):
        dense_reference(tiny_speech, [named])


def test_half_precision_is_compared_in_double(tiny_speech: SpeechModel, corpus: Corpus) -> None:
    tiny_speech.model.bfloat16()
    reference = dense_reference(tiny_speech, corpus.utterances[:1])
    assert reference.utterances[0].states.dtype == torch.bfloat16
    assert abs(measure_divergence(reference, tiny_speech).mean_kl) < 1e-6


def test_only_the_first_window_counts(
    tiny_speech: SpeechModel, babble: Callable[[int, float], np.ndarray], tmp_path: Path
) -> None:
    long = babble(0, 31.0)
    write_wav(tmp_path / "long.wav", long)
    write_wav(tmp_path / "short.wav", long[: 30 * 16_000])
    reference = dense_reference(tiny_speech, load_corpus(tmp_path))
    first, second = reference.utterances
    assert torch.equal(first.states, second.states)


def test_silence_is_left_out_and_a_corpus_of_it_refused(
    tiny_speech: SpeechModel, corpus: Corpus, tmp_path: Path
) -> None:
    file = write_wav(tmp_path / "quiet.wav", np.zeros(16_000, np.float32))
    quiet = Utterance(id="quiet", audio=file)
    (heard,) = dense_reference(tiny_speech, [quiet, corpus[0]]).utterances
    assert heard.utterance is corpus[0]
    with pytest.raises(CorpusError, match=r"tiny hears no text in 1 utterances, 1 of them silent"):
        dense_reference(tiny_speech, [quiet])


def test_a_model_that_only_ends_hears_no_text(tiny_speech: SpeechModel, corpus: Corpus) -> None:
    config = tiny_speech.model.generation_config
    config.suppress_tokens = [i for i in range(len(tiny_speech.processor.tokenizer))
                              if i != config.eos_token_id]  # fmt: skip
    with pytest.raises(CorpusError, match=r"hears no text in 6 utterances, 0 of them silent"):
        dense_reference(tiny_speech, corpus)


def test_another_vocabulary_is_refused(
    tiny_speech: SpeechModel, make_speech: MakeSpeech, corpus: Corpus
) -> None:
    reference = dense_reference(tiny_speech, corpus.utterances[:1])
    other = make_speech()
    other.model.resize_token_embeddings(100)
    with pytest.raises(ValueError, match=r"tiny has 100 tokens and tiny \d+"):
        measure_divergence(reference, other)


def test_weights_that_are_not_numbers_are_named(tiny_speech: SpeechModel, corpus: Corpus) -> None:
    reference = dense_reference(tiny_speech, corpus.utterances[:1])
    with torch.no_grad():
        tiny_speech.model.get_encoder().layer_norm.weight.fill_(float("nan"))
    with pytest.raises(CalibrationError, match=r"tiny gives NaN or Inf on clip-0.wav"):
        measure_divergence(reference, tiny_speech)
    with pytest.raises(CalibrationError, match=r"tiny gives NaN or Inf on clip-0.wav"):
        dense_reference(tiny_speech, corpus)


def test_the_mean_is_over_tokens_not_over_utterances() -> None:
    found = Divergence(
        model="small", reference="large",
        utterances=(UtteranceDivergence(id="a", kl=3.0, tokens=1, agreed=0),
                    UtteranceDivergence(id="b", kl=0.0, tokens=9, agreed=9)),
    )  # fmt: skip
    assert (found.mean_kl, found.agreement, found.tokens) == (0.3, 0.9, 10)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain == {
        "model": "small", "reference": "large", "mean_kl": 0.3, "interval_95": [0.0, 3.0],
        "agreement": 0.9, "tokens": 10, "utterances": 2,
    }  # fmt: skip


@pytest.mark.real
def test_a_real_model_diverges_once_it_is_compressed() -> None:
    speech = load_dense("whisper-tiny.en")
    corpus = load_corpus(fetch("two-cities") / "beckett.wav")
    reference = dense_reference(speech, corpus)
    (dense,) = reference.utterances
    assert "fail" in speech.processor.tokenizer.decode(dense.targets).lower()
    assert dense.targets[-1] == speech.model.generation_config.eos_token_id
    itself = measure_divergence(reference, speech)
    assert abs(itself.mean_kl) < 1e-6
    assert itself.agreement == 1.0
    spectra = spectra_of(speech, calibrate(speech, corpus, frames="all"), weighed=False)
    compress_(speech, plan_ranks(speech, spectra, ThresholdConfig(attention=0.9, mlp=0.9)), spectra)
    found = measure_divergence(reference, speech)
    assert found.mean_kl > 1e-3

"""Does Whisper base through transformers hear what faster-whisper hears, clip by clip?

Both read the same CTranslate2 bytes, in float32, greedy, without timestamps. faster-whisper pads
the *features* of a short clip with zeros; openai-whisper and transformers pad the *audio* with
silence. So each clip is given to faster-whisper twice: as it is, and padded to 30 s of audio
beforehand, which makes the inputs of the two models the same.

    python benchmarks/parity_faster_whisper.py CORPUS [CORPUS ...] --clips 20
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from faster_whisper import WhisperModel

import liteasr
from liteasr.encoders import adapter_for
from liteasr.sources import fetch

WINDOW = 480_000


def main() -> None:
    """Print the disagreements and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--clips", type=int, default=20)
    arguments = parser.parse_args()
    corpus = [u for u in liteasr.load_corpus(arguments.corpora) if (u.duration_s or 0) <= 30]
    chosen = liteasr.Corpus(utterances=tuple(corpus), origin="clips").sample(arguments.clips)

    ours = liteasr.load_model("whisper-base")
    transcriber = liteasr.transcriber_for(ours)
    theirs = WhisperModel(str(fetch("whisper-base")), device="cpu", compute_type="float32")
    errors, same, same_padded = [], 0, 0
    for utterance in chosen:
        waveform = utterance.load()
        padded = np.pad(waveform, (0, WINDOW - len(waveform)))
        language = utterance.language or "en"
        options = liteasr.TranscriptionOptions(
            language=language, temperature=(0.0,), timestamps=False
        )
        text = transcriber.transcribe(waveform, options).text
        texts = [heard(theirs, audio, language) for audio in (waveform, padded)]
        same += text == texts[0]
        same_padded += text == texts[1]
        errors.append(encoder_error(ours, theirs, waveform))
        if text not in texts or text != texts[1]:
            print(f"{utterance.id}\n  ours {text}\n  fw, padded audio {texts[1]}")
    print(f"encoder output, relative error: max {max(errors):.2e}, mean {np.mean(errors):.2e}")
    print(f"same transcript, same input (audio padded to 30 s): {same_padded} of {len(chosen)}")
    print(f"same transcript, faster-whisper's own zero-padded features: {same} of {len(chosen)}")


def heard(model: WhisperModel, waveform: np.ndarray, language: str) -> str:
    """faster-whisper's text: beam 1, no fallback, no timestamps."""
    segments, _ = model.transcribe(
        waveform,
        language=language,
        beam_size=1,
        temperature=0.0,
        without_timestamps=True,
        condition_on_previous_text=False,
        no_speech_threshold=None,
    )
    return "".join(segment.text for segment in segments).strip()


def encoder_error(ours: liteasr.SpeechModel, theirs: WhisperModel, waveform: np.ndarray) -> float:
    """|ours - theirs| / |theirs| on the same features."""
    window = next(adapter_for(ours.model).inputs(ours.processor, waveform))
    with torch.inference_mode():
        mine = ours.model.get_encoder()(**window.tensors).last_hidden_state[0]
    other = torch.from_numpy(np.array(theirs.encode(window.tensors["input_features"].numpy()))[0])
    return float((mine - other).norm() / other.norm())


if __name__ == "__main__":
    main()

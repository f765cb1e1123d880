"""How short may the encoder's context be? Word errors and KL by margin after the audio's end.

    python benchmarks/context.py CORPORA --model whisper-base --output RESULTS.json

For each margin: corpus WER of the runtime with its loop guard, the positions that were encoded on
average (those encoded again included), how often the guard was needed, and the mean KL per token
to the dense model on whole windows, which the guard has no part in.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import liteasr
from liteasr.atomic import write_text
from liteasr.runtime import ContextChoice, transcriber_for

MARGINS = ("off", "512", "384", "256", "128", "64", "0")


def main() -> None:
    """Print one row per margin as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--model", default="whisper-base", help="dense or compressed")
    parser.add_argument("--dense", help="what KL compares with [default: the model]")
    parser.add_argument("--margins", nargs="+", default=MARGINS)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    short = [u for u in liteasr.load_corpus(arguments.corpora) if is_scored(u, arguments.longest)]
    corpus = liteasr.Corpus(utterances=tuple(short), origin="short clips")
    corpus = corpus.sample(min(arguments.clips, len(corpus)))
    speech = liteasr.load_model(arguments.model)
    dense = speech if arguments.dense is None else liteasr.load_model(arguments.dense)
    reference = liteasr.dense_reference(dense, corpus)

    print("| margin | positions | encoded again | WER | 95 % | KL |\n|---|---|---|---|---|---|")
    rows = []
    for text in arguments.margins:
        context: ContextChoice = int(text) if text.isdecimal() else text
        rows.append(measured(speech, corpus, reference, context))
        show(rows[-1])
    if arguments.output:
        kept = {"model": arguments.model, "clips": len(corpus), "threads": arguments.threads}
        write_text(arguments.output, json.dumps({**kept, "rows": rows}, indent=1) + "\n")


def is_scored(utterance: liteasr.Utterance, longest_s: float) -> bool:
    return utterance.text is not None and (utterance.duration_s or 99.0) <= longest_s


def measured(
    speech: liteasr.SpeechModel,
    corpus: liteasr.Corpus,
    reference: Any,
    context: ContextChoice,
) -> dict[str, Any]:
    with encodings(speech) as positions, retries() as again:
        report = liteasr.evaluate(
            transcriber_for(speech), corpus, liteasr.TranscriptionOptions(context=context)
        )
    divergence = liteasr.measure_divergence(reference, speech, context=context)
    total = report.total
    clips = len(corpus) + 1  # the first one is transcribed twice
    return {
        "context": context,
        "mean_positions": sum(positions) / clips,
        "encoded_again": len(again),
        "wer": total.counts.rate,
        "interval_95": total.interval,
        "words": total.counts.n,
        "divergence": divergence.to_dict(),
        "environment": report.environment,
    }


@contextmanager
def encodings(speech: liteasr.SpeechModel) -> Iterator[list[int]]:
    """Collect the positions of every encoding."""
    lengths: list[int] = []
    norm = speech.model.get_encoder().layer_norm
    hook = norm.register_forward_hook(lambda _, __, out: lengths.append(out.shape[1]))
    yield lengths
    hook.remove()


@contextmanager
def retries() -> Iterator[list[str]]:
    """Collect what the loop guard says."""
    said: list[str] = []
    logger = logging.getLogger("liteasr.runtime.transformers")
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield said
    logger.removeHandler(handler)


def show(row: dict[str, Any]) -> None:
    low, high = row["interval_95"]
    print(
        f"| {row['context']} | {row['mean_positions']:.0f} | {row['encoded_again']} | "
        f"{row['wer']:.2%} | {low:.2%} - {high:.2%} | {row['divergence']['mean_kl']:.4f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()

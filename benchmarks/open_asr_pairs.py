"""Make the pairs that the tests of our normalizer compare with.

References and hypotheses are put together from phrases below: numbers, money, ordinals,
contractions, titles, British and American spellings, abbreviations, fillers and marks. What they
become is computed by the Open ASR Leaderboard's own normalizer, from a checkout of
huggingface/open_asr_leaderboard at commit 0c261bf, and the errors by a plain edit distance.

    python benchmarks/open_asr_pairs.py --leaderboard CHECKOUT --output PAIRS.jsonl

The file in tests/data was made without a checkout: from the steps of that commit's
``EnglishTextNormalizer.__call__``, written down from its text, over the tables of transformers'
Whisper normalizer and Whisper's own spelling list.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

# the same thing in two ways that a listener would not tell apart, or nearly
PHRASES = (
    ("twenty five", "25"),
    ("one hundred and one", "101"),
    ("two thousand and ten", "2010"),
    ("nineteen eighty four", "1984"),
    ("three point one four", "3.14"),
    ("double oh seven", "007"),
    ("minus five degrees", "-5 degrees"),
    ("ten dollars", "$10"),
    ("two dollars and seven cents", "$2.07"),
    ("fifty pounds", "£50"),
    ("nine euros", "€9"),
    ("twenty percent", "20%"),
    ("thirty per cent", "30 %"),
    ("1,234 people", "1234 people"),
    ("the twenty first", "the 21st"),
    ("the third", "the 3rd"),
    ("the nineties", "the 90s"),
    ("one and a half miles", "1.5 miles"),
    ("ten kilometres", "10 km"),
    ("four million", "4,000,000"),
    ("a hundred", "100"),
    ("two hundred fifty thousand", "250,000"),
    ("number one", "number 1"),
    ("triple eight", "888"),
    ("won't", "will not"),
    ("can't", "cannot"),
    ("let's go", "let us go"),
    ("it's been", "it has been"),
    ("he's gone", "he has gone"),
    ("they'd done", "they had done"),
    ("I'm sure", "I am sure"),
    ("we'll see", "we will see"),
    ("you've won", "you have won"),
    ("y'all", "you all"),
    ("gonna", "going to"),
    ("wanna", "want to"),
    ("shoulda", "should have"),
    ("ain't", "aint"),
    ("ma'am", "madam"),
    ("the dog's bone", "the dogs bone"),
    ("Mr. Park", "mister Park"),
    ("Mrs. Jones", "missus Jones"),
    ("Dr. Who", "Doctor Who"),
    ("St. John", "Saint John"),
    ("Prof. Kim Jr.", "professor Kim junior"),
    ("Gen. Lee", "General Lee"),
    ("the colour", "the color"),
    ("organise", "organize"),
    ("the theatre", "the theater"),
    ("travelling", "traveling"),
    ("catalogue", "catalog"),
    ("grey", "gray"),
    ("cheque", "check"),
    ("analyse", "analyze"),
    ("defence", "defense"),
    ("aluminium", "aluminum"),
    ("programme", "program"),
    ("mum", "mom"),
    ("U.S.", "US"),
    ("the U.S.A.", "the USA"),
    ("N.A.T.O.", "NATO"),
    ("B.B.C.", "B. B. C."),
    ("the F.B.I.'s", "the FBI's"),
    ("C.E.O.s", "CEOs"),
    ("e.g.", "eg"),
    ("p.m.", "pm"),
    ("I... think", "I think"),
    ("well ... no", "well no"),
    ("um yes", "yes"),
    ("uh hmm right", "right"),
    ("[noise] hello", "hello"),
    ("(laughs) sorry", "sorry"),
    ("<unk> thanks", "thanks"),
    ("naïve", "naive"),
    ("café", "cafe"),
    ("Søren", "Soren"),
    ("well-known", "well known"),
    ("co-operate", "cooperate"),
    ("rock 'n' roll", "rock n roll"),
    ("9 M.M.", "9 mm"),
    ("RC232", "RC 232"),
    ("$3.50", "3 dollars 50"),
    ("A.M. or P.M.", "am or pm"),
    ("100%", "one hundred percent"),
)
PLAIN = ("the", "cat", "sat", "down", "and", "we", "all", "went", "home", "after", "dinner")
PAIRS = 240


def main() -> None:
    """Write one JSON line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaderboard", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.leaderboard))
    from normalizer.normalizer import EnglishTextNormalizer

    normalize = EnglishTextNormalizer()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(PAIRS):
        reference, hypothesis = spoken(rng, number)
        clean = [normalize(text).strip() for text in (reference, hypothesis)]
        found = {
            "reference": reference,
            "hypothesis": hypothesis,
            "normalized_reference": clean[0],
            "normalized_hypothesis": clean[1],
            "errors": edit_distance(clean[0].split(), clean[1].split()),
            "words": len(clean[0].split()),
        }
        lines.append(json.dumps(found, ensure_ascii=False) + "\n")
    arguments.output.write_text("".join(lines), encoding="utf-8")


def spoken(rng: np.random.Generator, number: int) -> tuple[str, str]:
    """A reference with every phrase in turn among others, and what might be heard."""
    chosen = [number % len(PHRASES), *rng.integers(0, len(PHRASES), size=rng.integers(0, 3))]
    said, heard = [], []
    for place in chosen:
        pair = PHRASES[place]
        side = int(rng.integers(0, 2))
        said.append(pair[side])
        heard.append(pair[1 - side] if rng.random() < 0.7 else pair[side])
        for word in rng.choice(PLAIN, size=rng.integers(0, 4)):
            said.append(str(word))
            fate = rng.random()
            heard.extend([] if fate < 0.1 else [str(rng.choice(PLAIN) if fate < 0.2 else word)])
    ends = ("", ".", "...", "?", "!", ",")
    reference, hypothesis = " ".join(said), " ".join(heard) + str(rng.choice(ends))
    if number % 3 == 0:
        reference = reference.upper()
    return reference + str(rng.choice(ends)), hypothesis


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Fewest substitutions, deletions and insertions, straight from the definition."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, word in enumerate(hypothesis, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (expected != word))
    return row[-1]


if __name__ == "__main__":
    main()

"""One calibration a file, of the model that the file calls ``speech``."""

from pathlib import Path

import pytest

from liteasr.calibration import Calibration, calibrate
from liteasr.corpus import Corpus, load_corpus
from liteasr.sources import SpeechModel


@pytest.fixture(scope="module")
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)


@pytest.fixture(scope="module")
def made(speech: SpeechModel, corpus: Corpus) -> Calibration:
    return calibrate(speech, corpus)

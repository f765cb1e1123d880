"""What all tests of refinement start from."""

from pathlib import Path

import pytest

from liteasr.corpus import Corpus, load_corpus


@pytest.fixture
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)

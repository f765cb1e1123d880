"""Where speech comes from: folders, manifests, lists of paths, Hugging Face datasets."""

from liteasr.corpus.manifest import read_manifest, write_manifest
from liteasr.corpus.mixing import mix_noise
from liteasr.corpus.open_asr import OPEN_ASR
from liteasr.corpus.resolve import load_corpus
from liteasr.corpus.splitting import parts, pieces, require_disjoint
from liteasr.corpus.utterance import Corpus, Utterance

__all__ = [
    "OPEN_ASR",
    "Corpus",
    "Utterance",
    "load_corpus",
    "mix_noise",
    "parts",
    "pieces",
    "read_manifest",
    "require_disjoint",
    "write_manifest",
]

"""Make speech recognizers small and fast without labels.

::

    import liteasr

    lite = liteasr.compress("whisper-base", audio="recordings/", keep=0.8)
    lite.save("whisper-base-lite")
    print(liteasr.load_transcriber("whisper-base-lite").transcribe("talk.mp3").text)

Names are imported when first used: ``import liteasr`` alone pulls in neither transformers nor
any other heavy package. Once transformers is imported, its Auto classes and pipelines open
compressed checkpoints too.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

import wrapt

from liteasr._lazy import lazy_names

if TYPE_CHECKING:
    from liteasr.calibration import Calibration, calibrate
    from liteasr.checkpoint import CompressedModel, load, load_model, save
    from liteasr.compression import compress_
    from liteasr.corpus import Corpus, Utterance, load_corpus
    from liteasr.errors import LiteASRError
    from liteasr.evaluation import dense_reference, evaluate, measure_divergence
    from liteasr.kernels import low_rank_attention
    from liteasr.nn import LowRankLinear, LowRankSelfAttention
    from liteasr.plan import (
        PRESETS,
        BudgetConfig,
        LatencyTable,
        RankPlan,
        ThresholdConfig,
        measure_latency,
        plan_ranks,
        spectra_of,
    )
    from liteasr.refinement import RefinementConfig, RefinementReport, refine_
    from liteasr.runtime import (
        Transcriber,
        TranscriptionOptions,
        listener_of,
        load_transcriber,
        transcriber_for,
    )
    from liteasr.sensitivity import Sensitivity, probe
    from liteasr.sources import SpeechModel
    from liteasr.transcript import Transcript
    from liteasr.workflow import compress, refine

__version__ = version("liteasr")

_HOMES = {
    "BudgetConfig": "plan",
    "Calibration": "calibration",
    "CompressedModel": "checkpoint",
    "Corpus": "corpus",
    "LatencyTable": "plan",
    "LiteASRError": "errors",
    "LowRankLinear": "nn",
    "LowRankSelfAttention": "nn",
    "PRESETS": "plan",
    "RankPlan": "plan",
    "RefinementConfig": "refinement",
    "RefinementReport": "refinement",
    "Sensitivity": "sensitivity",
    "SpeechModel": "sources",
    "ThresholdConfig": "plan",
    "Transcriber": "runtime",
    "Transcript": "transcript",
    "TranscriptionOptions": "runtime",
    "Utterance": "corpus",
    "calibrate": "calibration",
    "compress": "workflow",
    "compress_": "compression",
    "dense_reference": "evaluation",
    "evaluate": "evaluation",
    "listener_of": "runtime",
    "load": "checkpoint",
    "load_corpus": "corpus",
    "load_model": "checkpoint",
    "load_transcriber": "runtime",
    "low_rank_attention": "kernels",
    "measure_divergence": "evaluation",
    "measure_latency": "plan",
    "plan_ranks": "plan",
    "probe": "sensitivity",
    "refine": "workflow",
    "refine_": "refinement",
    "save": "checkpoint",
    "spectra_of": "plan",
    "transcriber_for": "runtime",
}

__all__ = [
    "PRESETS",
    "BudgetConfig",
    "Calibration",
    "CompressedModel",
    "Corpus",
    "LatencyTable",
    "LiteASRError",
    "LowRankLinear",
    "LowRankSelfAttention",
    "RankPlan",
    "RefinementConfig",
    "RefinementReport",
    "Sensitivity",
    "SpeechModel",
    "ThresholdConfig",
    "Transcriber",
    "Transcript",
    "TranscriptionOptions",
    "Utterance",
    "__version__",
    "calibrate",
    "compress",
    "compress_",
    "dense_reference",
    "evaluate",
    "listener_of",
    "load",
    "load_corpus",
    "load_model",
    "load_transcriber",
    "low_rank_attention",
    "measure_divergence",
    "measure_latency",
    "plan_ranks",
    "probe",
    "refine",
    "refine_",
    "save",
    "spectra_of",
    "transcriber_for",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)

# hooks by name: neither transformers nor our checkpoint code is imported before it is needed
for _module, _hook in (("configuration_auto", "configs"), ("modeling_auto", "models")):
    wrapt.register_post_import_hook(
        f"liteasr.checkpoint.auto_classes:register_{_hook}", f"transformers.models.auto.{_module}"
    )

"""Every error that liteasr raises on purpose.

::

    LiteASRError
    ├── AudioError               a recording is missing, damaged or empty
    ├── CalibrationError         activations or moments that cannot be used
    ├── CheckpointError          a checkpoint that cannot be read or written
    ├── CorpusError              a corpus or a manifest line that cannot be used
    ├── EvaluationError          results that cannot be kept, read or compared
    ├── ExportError              a model that cannot be exported, or an export that differs from it
    ├── KernelError              a kernel or a graph that cannot run here, or on these tensors
    ├── MissingDependencyError   an optional package is not installed (also ImportError)
    ├── PlanError                a rank plan that does not fit the model (also ValueError)
    ├── RefinementError          refinement that cannot begin, go on or be resumed
    ├── SourceError              model weights that cannot be found or read
    │   └── IntegrityError       bytes that are not the ones expected: truncated or tampered
    ├── StorageError             the disk refused: full, read-only, no permission (also OSError)
    ├── TranscriptionError       a request the model cannot serve
    └── UnsupportedModelError    an architecture no encoder adapter knows

A message names the value, the limit and the fix.
"""

__all__ = [
    "AudioError",
    "CalibrationError",
    "CheckpointError",
    "CorpusError",
    "EvaluationError",
    "ExportError",
    "IntegrityError",
    "KernelError",
    "LiteASRError",
    "MissingDependencyError",
    "PlanError",
    "RefinementError",
    "SourceError",
    "StorageError",
    "TranscriptionError",
    "UnsupportedModelError",
]


class LiteASRError(Exception):
    """The root of the tree: catch it to catch everything liteasr raises on purpose."""


class AudioError(LiteASRError):
    """A recording is missing, damaged or empty; a silent one is only warned of."""


class CalibrationError(LiteASRError):
    """Activations or moments cannot be used: NaN, too few frames, another model's."""


class CheckpointError(LiteASRError):
    """A checkpoint cannot be read or written."""


class CorpusError(LiteASRError):
    """A corpus or a manifest line cannot be used; the message names the line."""


class EvaluationError(LiteASRError):
    """Results cannot be kept, read or compared: other settings, a damaged file."""


class ExportError(LiteASRError):
    """A model cannot be exported, or the exported file does not give what the model gives."""


class KernelError(LiteASRError):
    """A kernel or a graph cannot run on this device or these tensors; nothing else was tried."""


class MissingDependencyError(LiteASRError, ImportError):
    """An optional package is not installed; the message holds the pip line."""


class PlanError(LiteASRError, ValueError):
    """A rank plan does not fit the model, or asks for an impossible rank."""


class RefinementError(LiteASRError):
    """Refinement cannot begin, go on or be resumed."""


class SourceError(LiteASRError):
    """Model weights cannot be found or read."""


class IntegrityError(SourceError):
    """Bytes are not the ones expected: a truncated or tampered file, with its hash."""


class StorageError(LiteASRError, OSError):
    """The disk refused a write: full, read-only or not permitted."""


class TranscriptionError(LiteASRError):
    """A request that the model cannot serve, such as a language it does not know."""


class UnsupportedModelError(LiteASRError):
    """No encoder adapter knows this architecture."""

"""Which layers matter: weights for budgeted plans, without labels."""

from liteasr.sensitivity.artefact import Sensitivity
from liteasr.sensitivity.probing import probe

__all__ = ["Sensitivity", "probe"]

"""Which layers matter: weights for budgeted plans, without labels."""

from liteasr.sensitivity.artefact import Sensitivity, query_key_of, value_output_of
from liteasr.sensitivity.probing import probe

__all__ = ["Sensitivity", "probe", "query_key_of", "value_output_of"]

"""Where kernels are tested: compiled on a GPU, or interpreted on the CPU, slowly but exactly.

Imported before anything that imports triton, which decides once and for all.
"""

import os

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")

"""Benchmarks: this project against what a user would write or run instead."""

import os

# A kernel chosen by hand for another machine would slow NumPy and scikit-learn: let OpenBLAS choose.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

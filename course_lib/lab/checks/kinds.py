"""The kinds of arrays that an answer may hold: torch's tensors, and numpy's arrays and numbers.

A browser's Python (Pyodide) has neither package, so nothing is an array there: `isinstance(x, ())`
is never true.
"""

import sys

IN_BROWSER = sys.platform == "emscripten"

if IN_BROWSER:
    TENSOR = NDARRAY = NUMPY_NUMBER = ()
else:
    import numpy as np
    import torch

    TENSOR, NDARRAY, NUMPY_NUMBER = torch.Tensor, np.ndarray, np.generic

ARRAY = (TENSOR, NDARRAY)

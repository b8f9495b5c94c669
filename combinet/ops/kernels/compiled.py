"""The compiler options of all kernels, and row operations that kernels share."""

from typing import Any

import numba
import numpy as np

from combinet.ops.formulas.vectorized import functions

# The compiler may reorder sums and fuse products, but NaN and infinities keep their meaning.
# Division by zero follows NumPy, because a check inside a loop would prevent vectorization.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp", "afn"},
}


def kernel(function: Any) -> Any:
    """Returns the compiled function, cached on disk next to its file or in the user's cache.

    If neither folder is writable, each process compiles the function again.
    """
    try:
        return numba.njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # Numba found no folder for its cache
        return numba.njit(function, **_OPTIONS)


exp = functions(np.float32)["exp"]


@kernel
def copy(x: Any, y: Any) -> None:
    """Copies the row x to y."""
    for k in range(y.shape[0]):
        y[k] = x[k]


@kernel
def add(x: Any, y: Any) -> None:
    """Adds the row x to y."""
    for k in range(y.shape[0]):
        y[k] += x[k]

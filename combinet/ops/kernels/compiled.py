"""How loops are compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from combinet.ops.formulas.vectorized import functions

# Sums may be reordered and products fused, but NaN and infinities keep their meaning; division
# by zero follows NumPy, since a check in a loop would keep it from being vectorised.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp", "afn"},
}


def kernel(function: Any) -> Any:
    """The function compiled, and cached on disk: beside its file, else in the user's cache.

    Where neither folder can be written, it is compiled anew in each process.
    """
    try:
        return numba.njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # Numba found no folder for its cache
        return numba.njit(function, **_OPTIONS)


exp = functions(np.float32)["exp"]


@kernel
def copy(x: Any, y: Any) -> None:
    """Put the row x into y."""
    for k in range(y.shape[0]):
        y[k] = x[k]


@kernel
def add(x: Any, y: Any) -> None:
    """Add the row x to y."""
    for k in range(y.shape[0]):
        y[k] += x[k]

"""How loops are compiled."""

from __future__ import annotations

import numba
import numpy as np

from combinet.ops.vectorized import functions

# Sums may be reordered and products fused, but NaN and infinities keep their meaning; division
# by zero follows NumPy, since a check in a loop would keep it from being vectorised.
kernel = numba.njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz", "arcp", "afn"},
)
exp = functions(np.float32)["exp"]

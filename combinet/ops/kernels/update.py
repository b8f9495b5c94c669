"""The optimizers' steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.kernels.compiled import kernel


@kernel
def adam(
    W: Any, dW: Any, first: Any, second: Any,
    scale: float, root: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
    """One pass over all weights."""
    real = W.dtype.type
    a, root_, b1, b2, e, one = real(scale), real(root), real(beta1), real(beta2), real(eps), real(1)
    for i in range(W.shape[0]):
        g = dW[i]
        m = b1 * first[i] + (one - b1) * g
        v = b2 * second[i] + (one - b2) * g * g
        first[i] = m
        second[i] = v
        W[i] -= a * m / (np.sqrt(v) * root_ + e)

"""Kernels for the steps of optimizers."""

from typing import Any

import numpy as np

from combinet.ops.kernels.compiled import kernel
from combinet.ops.kernels.prefetch import AHEAD, prefetch


@kernel
def _typed(W: Any, step: Any) -> Any:
    """Returns the numbers of a step in the dtype of W, and 1 - beta for both betas."""
    real = W.dtype.type
    beta1, beta2, scale, root, eps = step
    b1, b2, one = real(beta1), real(beta2), real(1)
    return b1, one - b1, b2, one - b2, real(scale), real(root), real(eps)


@kernel
def _step(w: Any, g: Any, m: Any, v: Any, numbers: Any) -> Any:
    """Returns one weight and its moments after the step."""
    b1, c1, b2, c2, a, r, e = numbers
    m = b1 * m + c1 * g
    v = b2 * v + c2 * g * g
    return w - a * m / (np.sqrt(v) * r + e), m, v


@kernel
def adam(W: Any, dW: Any, first: Any, second: Any, step: Any) -> None:
    """One pass over all weights."""
    numbers = _typed(W, step)
    for i in range(W.shape[0]):
        W[i], first[i], second[i] = _step(W[i], dW[i], first[i], second[i], numbers)


@kernel
def adam_rows(rows: Any, W: Any, dW: Any, first: Any, second: Any, step: Any) -> None:
    """Like `adam`, row by row. Calling `adam` for each row would be slower."""
    numbers = _typed(W, step)
    last = rows.shape[0] - 1
    for i in range(rows.shape[0]):
        ahead, row = rows[min(i + AHEAD // 2, last)], rows[i]
        for table in (W, dW, first, second):
            prefetch(table, ahead)
        w, d, f, s = W[row], dW[row], first[row], second[row]
        for o in range(w.shape[0]):
            w[o], f[o], s[o] = _step(w[o], d[o], f[o], s[o], numbers)

"""Kernels for sequences: windows, reductions, attention weights."""

from typing import Any

import numpy as np

from combinet.ops.kernels.compiled import add, copy, exp, kernel


@kernel
def expand_window(X: Any, window: int, lengths: Any, Y: Any) -> None:
    """Neighbor by neighbor, with zeros beyond the ends of the sequence."""
    start = 0
    for length in lengths:
        for i in range(start, start + length):
            for step in range(-window, window + 1):
                y = Y[i, step + window]
                if start <= i + step < start + length:
                    copy(X[i + step], y)
                else:
                    y[:] = 0
        start += length


@kernel
def backprop_expand_window(dY: Any, window: int, lengths: Any, dX: Any) -> None:
    """Each row adds up its gradients from the windows that contain it."""
    start = 0
    for length in lengths:
        for i in range(start, start + length):
            copy(dY[i, window], dX[i])
            for step in range(-window, window + 1):
                if step != 0 and start <= i - step < start + length:
                    add(dY[i - step, step + window], dX[i])
        start += length


@kernel
def reduce_sum(X: Any, lengths: Any, Y: Any) -> None:
    """Sequence by sequence, row by row."""
    start = 0
    for i in range(lengths.shape[0]):
        y = Y[i]
        y[:] = 0
        for row in range(start, start + lengths[i]):
            add(X[row], y)
        start += lengths[i]


@kernel
def attention_weights(S: Any, scale: Any, causal: bool) -> None:
    """Row by row of an array (all rows, n, m). If `causal`, later elements of a row become 0."""
    for i in range(S.shape[0]):
        for row in range(S.shape[1]):
            s = S[i, row]
            m = min(row + 1, s.shape[0]) if causal else s.shape[0]
            most = s[0]
            for k in range(m):
                most = max(most, s[k])
            total = np.float32(0)
            for k in range(m):
                s[k] = exp((s[k] - most) * scale)
                total += s[k]
            share = np.float32(1) / total
            for k in range(m):
                s[k] *= share
            for k in range(m, s.shape[0]):
                s[k] = np.float32(0)


@kernel
def backprop_attention_weights(dP: Any, P: Any, scale: Any) -> None:
    """For each row: first the sum of the products, then the gradients."""
    for i in range(P.shape[0]):
        d, p = dP[i], P[i]
        total = p.dtype.type(0)
        for k in range(p.shape[0]):
            total += d[k] * p[k]
        for k in range(p.shape[0]):
            d[k] = (d[k] - total) * p[k] * scale

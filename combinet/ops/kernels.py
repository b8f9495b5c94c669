"""Loops that Numba compiles for the CPU: what they compute is said in the Ops methods they serve.

Imported when the first is needed. Compiled code is cached on disk, for each dtype.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# Sums may be reordered and products fused, but NaN and infinities keep their meaning; division
# by zero follows NumPy, since a check in a loop would keep it from being vectorised.
_kernel = numba.njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz", "arcp", "afn"},
)


@_kernel
def gather_sum(E: Any, rows: Any, Y: Any) -> None:
    """The first row is copied, the others are added."""
    for i in range(rows.shape[0]):
        y = Y[i]
        first = E[rows[i, 0]]
        for o in range(y.shape[0]):
            y[o] = first[o]
        for k in range(1, rows.shape[1]):
            e = E[rows[i, k]]
            for o in range(y.shape[0]):
                y[o] += e[o]


@_kernel
def scatter_add(E: Any, rows: Any, Y: Any) -> None:
    """Row by row, in order."""
    for i in range(rows.shape[0]):
        y = Y[i]
        for k in range(rows.shape[1]):
            e = E[rows[i, k]]
            for o in range(y.shape[0]):
                e[o] += y[o]


@_kernel
def maxout(Z: Any, Y: Any, which: Any) -> None:
    """One pass a piece, over rows that are contiguous since the pieces come first."""
    for i in range(Z.shape[0]):
        y, w, first = Y[i], which[i], Z[i, 0]
        for o in range(y.shape[0]):
            y[o] = first[o]
            w[o] = 0
        for p in range(1, Z.shape[1]):
            z = Z[i, p]
            piece = np.uint8(p)
            for o in range(y.shape[0]):
                # NaN wins, as in numpy.maximum, and is the first of its kind
                better = z[o] > y[o] or (z[o] != z[o] and y[o] == y[o])
                y[o] = z[o] if better else y[o]
                w[o] = piece if better else w[o]


@_kernel
def backprop_maxout(dY: Any, which: Any, dZ: Any) -> None:
    """The gradient where the piece won, else 0."""
    zero = dY.dtype.type(0)
    for i in range(dY.shape[0]):
        d, w = dY[i], which[i]
        for p in range(dZ.shape[1]):
            z = dZ[i, p]
            piece = np.uint8(p)
            for o in range(d.shape[0]):
                z[o] = d[o] if w[o] == piece else zero


@_kernel
def layer_norm(X: Any, G: Any, b: Any, eps: Any, Y: Any, N: Any, scale: Any) -> None:
    """Mean, then variance around it, then the result, a row at a time."""
    nI = X.shape[1]
    one = X.dtype.type(1)
    for i in range(X.shape[0]):
        x, y, n = X[i], Y[i], N[i]
        total = X.dtype.type(0)
        for o in range(nI):
            total += x[o]
        mean = total / X.dtype.type(nI)
        squares = X.dtype.type(0)
        for o in range(nI):
            squares += (x[o] - mean) * (x[o] - mean)
        inverse = one / np.sqrt(squares / X.dtype.type(nI) + X.dtype.type(eps))
        scale[i, 0] = inverse
        for o in range(nI):
            n[o] = (x[o] - mean) * inverse
        for o in range(nI):
            y[o] = n[o] * G[o] + b[o]


@_kernel
def backprop_layer_norm(dY: Any, N: Any, scale: Any, G: Any, dX: Any, dG: Any, db: Any) -> None:
    """The row's two means first; dG and db are summed on the way."""
    nI = dY.shape[1]
    for i in range(dY.shape[0]):
        d, n, x = dY[i], N[i], dX[i]
        total = dY.dtype.type(0)
        product = dY.dtype.type(0)
        for o in range(nI):
            g = d[o] * G[o]
            total += g
            product += g * n[o]
        mean = total / dY.dtype.type(nI)
        slope = product / dY.dtype.type(nI)
        for o in range(nI):
            x[o] = (d[o] * G[o] - mean - n[o] * slope) * scale[i, 0]
        for o in range(nI):
            dG[o] += d[o] * n[o]
            db[o] += d[o]


@_kernel
def expand_window(X: Any, window: int, lengths: Any, Y: Any) -> None:
    """Neighbour by neighbour; zeros beyond the ends of the sequence."""
    nI = X.shape[1]
    zero = X.dtype.type(0)
    start = 0
    for length in lengths:
        for i in range(start, start + length):
            for step in range(-window, window + 1):
                y = Y[i, step + window]
                if start <= i + step < start + length:
                    x = X[i + step]
                    for o in range(nI):
                        y[o] = x[o]
                else:
                    for o in range(nI):
                        y[o] = zero
        start += length


@_kernel
def backprop_expand_window(dY: Any, window: int, lengths: Any, dX: Any) -> None:
    """Each row collects its gradient from the windows that it is in."""
    nI = dX.shape[1]
    start = 0
    for length in lengths:
        for i in range(start, start + length):
            x = dX[i]
            own = dY[i, window]
            for o in range(nI):
                x[o] = own[o]
            for step in range(-window, window + 1):
                if step != 0 and start <= i - step < start + length:
                    d = dY[i - step, step + window]
                    for o in range(nI):
                        x[o] += d[o]
        start += length


@_kernel
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


@_kernel
def _tanh(x: Any) -> Any:
    """To within 2e-7: Lambert's continued fraction for x / 2 to x**7, p / q, then 2pq / (pp + qq).

    Beyond 9 the result rounds to 1 in float32. NaN passes.
    """
    bounded = min(max(x, np.float32(-9)), np.float32(9))
    y = (bounded if x == x else x) * np.float32(0.5)
    s = y * y
    p = y * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
    q = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
    return np.float32(2) * p * q / (p * p + q * q)


@_kernel
def lstm_cell(Z: Any, R: Any, half: Any, last: Any, C: Any, T: Any, Y: Any) -> None:
    """In float32, with a tanh that is vectorised; row by row."""
    nO = C.shape[1]
    one = np.float32(1)
    for r in range(Z.shape[0]):
        z, product = Z[r], R[r]
        for k in range(z.shape[0]):
            z[k] = half[k] * _tanh(z[k] + product[k]) + (one - half[k])
        i, f, g, o = z[:nO], z[nO : 2 * nO], z[2 * nO : 3 * nO], z[3 * nO :]
        before, c, t, y = last[r], C[r], T[r], Y[r]
        for k in range(nO):
            c[k] = f[k] * before[k] + i[k] * g[k]
            t[k] = _tanh(c[k])
            y[k] = o[k] * t[k]


@_kernel
def lstm_alone(Z: Any, U: Any, half: Any, start: Any, C: Any, T: Any, Y: Any) -> None:
    """All steps of one sequence: calling for a product at each takes longer than computing it."""
    nothing = np.zeros((1, Z.shape[1]), Z.dtype)
    for t in range(Z.shape[0]):
        z = Z[t]
        if t > 0:
            for j in range(U.shape[0]):
                y, u = Y[t - 1, j], U[j]
                for k in range(z.shape[0]):
                    z[k] += y * u[k]
        last = C[t - 1 : t] if t > 0 else start
        lstm_cell(Z[t : t + 1], nothing, half, last, C[t : t + 1], T[t : t + 1], Y[t : t + 1])


@_kernel
def backprop_lstm_cell(dY: Any, gates: Any, last: Any, T: Any, dH: Any, dC: Any, dZ: Any) -> None:
    """Few arrays a loop, or it is not vectorised. dH is used up; dC becomes the step before's."""
    nO = dC.shape[1]
    one = dC.dtype.type(1)
    for r in range(dC.shape[0]):
        dy, z, before, t, h, c, d = dY[r], gates[r], last[r], T[r], dH[r], dC[r], dZ[r]
        i, f, g, o = z[:nO], z[nO : 2 * nO], z[2 * nO : 3 * nO], z[3 * nO :]
        di, df, dg, do = d[:nO], d[nO : 2 * nO], d[2 * nO : 3 * nO], d[3 * nO :]
        for k in range(nO):
            h[k] += dy[k]
        for k in range(nO):
            c[k] += h[k] * o[k] * (one - t[k] * t[k])
        for k in range(nO):
            di[k] = c[k] * g[k] * i[k] * (one - i[k])
        for k in range(nO):
            df[k] = c[k] * before[k] * f[k] * (one - f[k])
        for k in range(nO):
            dg[k] = c[k] * i[k] * (one - g[k] * g[k])
        for k in range(nO):
            do[k] = h[k] * t[k] * o[k] * (one - o[k])
        for k in range(nO):
            c[k] *= f[k]

"""Loops that Numba compiles for the CPU: what they compute is said in the Ops methods they serve.

Imported when the first is needed. Compiled code is cached on disk, for each dtype.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from combinet.ops.vectorized import functions

# Sums may be reordered and products fused, but NaN and infinities keep their meaning; division
# by zero follows NumPy, since a check in a loop would keep it from being vectorised.
_kernel = numba.njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz", "arcp", "afn"},
)
_exp = functions(np.float32)["exp"]


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
def hash_rows(keys: Any, offsets: Any, nV: int, rows: Any) -> None:
    """Key by key: of each mix the lower half, then the upper."""
    low, high, n = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(nV)
    for i in range(keys.shape[0]):
        row = rows[i]
        for pair in range(offsets.shape[0]):
            x = keys[i] + offsets[pair]
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
            row[2 * pair] = ((x & low) * n) >> high
            row[2 * pair + 1] = ((x >> high) * n) >> high


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
def reduce_sum(X: Any, lengths: Any, Y: Any) -> None:
    """Sequence by sequence, row by row."""
    start = 0
    for i in range(lengths.shape[0]):
        y = Y[i]
        for o in range(y.shape[0]):
            y[o] = 0
        for row in range(start, start + lengths[i]):
            x = X[row]
            for o in range(y.shape[0]):
                y[o] += x[o]
        start += lengths[i]


@_kernel
def repeat_rows(X: Any, lengths: Any, Y: Any) -> None:
    """Sequence by sequence, row by row."""
    start = 0
    for i in range(lengths.shape[0]):
        x = X[i]
        for row in range(start, start + lengths[i]):
            y = Y[row]
            for o in range(y.shape[0]):
                y[o] = x[o]
        start += lengths[i]


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
            z[k] = half[k] * _tanh(half[k] * (z[k] + product[k])) + (one - half[k])
        i, f, g, o = z[:nO], z[nO : 2 * nO], z[2 * nO : 3 * nO], z[3 * nO :]
        before, c, t, y = last[r], C[r], T[r], Y[r]
        for k in range(nO):
            c[k] = f[k] * before[k] + i[k] * g[k]
            t[k] = _tanh(c[k])
            y[k] = o[k] * t[k]


@_kernel
def lstm_alone(Z: Any, U: Any, half: Any, C: Any, T: Any, Y: Any) -> None:
    """All steps of one sequence: calling for a product at each takes longer than computing it."""
    nothing, start = np.zeros((1, Z.shape[1]), Z.dtype), np.zeros((1, C.shape[1]), Z.dtype)
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


_MASK = np.int32(-4096)  # keeps the first 12 digits of a float32: their square is exact


@_kernel
def _normal(x: Any) -> Any:
    """The normal distribution function at x, in float32, and its density; both within 5e-7.

    With t = |x|, the tail beyond t is exp(-t^2 / 2) * R(t), with R a polynomial in
    1 / (1 + 0.2125 t), the form of Abramowitz and Stegun 1964, 7.1.26, fitted to within 3e-8 of its
    value. t^2 is taken in two parts: exp would magnify what its last digits lack.
    """
    t = min(abs(x), np.float32(20))
    head = np.int32(np.float32(t).view(np.int32) & _MASK).view(np.float32)
    c = np.float32(-0.5) * (t - head) * (t + head)
    e = _exp(np.float32(-0.5) * head * head)
    e *= np.float32(1) + c * (
        np.float32(1) + c * (np.float32(1 / 2) + c * (np.float32(1 / 6) + c * np.float32(1 / 24)))
    )
    z = np.float32(1) / (np.float32(1) + np.float32(0.2125) * t)
    q = np.float32(-0.063552194)
    q = q * z + np.float32(0.23588558)
    q = q * z + np.float32(-0.243916036)
    q = q * z + np.float32(0.261665794)
    q = q * z + np.float32(-0.0399819409)
    q = q * z + np.float32(0.104803509)
    q = q * z + np.float32(0.0749260109)
    q = q * z + np.float32(0.0854241095)
    q = q * z + np.float32(0.0847451564)
    tail = e * q * z
    density = e * np.float32(0.3989422804014327)
    return (tail if x < np.float32(0) else np.float32(1) - tail), density


@_kernel
def gelu(X: Any, Y: Any, S: Any) -> None:
    """Function and slope at once: they have the exponential in common."""
    for i in range(X.shape[0]):
        # Beyond, the function is 0 or X, and no infinity meets a 0.
        x = max(X[i], np.float32(-20))
        P, p = _normal(x)
        Y[i] = x * P
        S[i] = P + min(x, np.float32(20)) * p


@_kernel
def softmax(X: Any, Y: Any) -> None:
    """Row by row: the largest, the exponentials and their sum, the shares."""
    tiny = np.float32(1.1754944e-38)
    for i in range(X.shape[0]):
        x, y = X[i], Y[i]
        most = x[0]
        for k in range(x.shape[0]):
            most = max(most, x[k])
        for k in range(x.shape[0]):
            y[k] = _exp(x[k] - most)
        total = np.float32(0)
        for k in range(x.shape[0]):
            total += y[k]
        share = np.float32(1) / total
        for k in range(x.shape[0]):
            y[k] = max(y[k] * share, tiny)


@_kernel
def backprop_softmax(dY: Any, Y: Any, dX: Any) -> None:
    """Row by row: the sum of the products first."""
    for i in range(Y.shape[0]):
        d, y, x = dY[i], Y[i], dX[i]
        total = y.dtype.type(0)
        for k in range(y.shape[0]):
            total += y[k] * d[k]
        for k in range(y.shape[0]):
            x[k] = y[k] * (d[k] - total)


@_kernel
def attention_weights(S: Any, scale: Any, causal: bool) -> None:
    """Row by row of (all rows, n, m); what comes after a row, if it is causal, is 0."""
    for i in range(S.shape[0]):
        for row in range(S.shape[1]):
            s = S[i, row]
            m = min(row + 1, s.shape[0]) if causal else s.shape[0]
            most = s[0]
            for k in range(m):
                most = max(most, s[k])
            total = np.float32(0)
            for k in range(m):
                s[k] = _exp((s[k] - most) * scale)
                total += s[k]
            share = np.float32(1) / total
            for k in range(m):
                s[k] *= share
            for k in range(m, s.shape[0]):
                s[k] = np.float32(0)


@_kernel
def backprop_attention_weights(dP: Any, P: Any, scale: Any) -> None:
    """Row by row: the sum of the products first."""
    for i in range(P.shape[0]):
        d, p = dP[i], P[i]
        total = p.dtype.type(0)
        for k in range(p.shape[0]):
            total += d[k] * p[k]
        for k in range(p.shape[0]):
            d[k] = (d[k] - total) * p[k] * scale

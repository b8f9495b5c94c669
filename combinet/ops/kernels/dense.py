"""Kernels of operations on single rows: gelu, softmax, maxout, layer norm."""

from typing import Any

import numpy as np

from combinet.ops.formulas.vectorized import horner
from combinet.ops.kernels.compiled import add, exp, kernel

_MASK = np.int32(-4096)  # keeps 12 bits of a float32's significand, whose square is exact
_EXP = tuple(map(np.float32, (1 / 24, 1 / 6, 1 / 2, 1, 1)))
_TAIL = tuple(map(np.float32, (
    -0.063552194, 0.23588558, -0.243916036, 0.261665794, -0.0399819409, 0.104803509,
    0.0749260109, 0.0854241095, 0.0847451564,
)))  # fmt: skip


@kernel
def _normal(x: Any) -> Any:
    """Returns the normal distribution function at x and its density, in float32, both within 5e-7.

    With t = |x|, the tail beyond t is exp(-t^2 / 2) * R(t). R is a polynomial in 1 / (1 + 0.2125 *
    t), fitted to within 3e-8 of its value. t^2 is computed in two parts, because exp would magnify
    the rounding error of its last digits.

    Source: Abramowitz and Stegun 1964, 7.1.26, for the form of R.
    """
    t = min(abs(x), np.float32(20))
    head = np.int32(np.float32(t).view(np.int32) & _MASK).view(np.float32)
    c = np.float32(-0.5) * (t - head) * (t + head)
    e = exp(np.float32(-0.5) * head * head)
    e *= horner(_EXP, c)
    z = np.float32(1) / (np.float32(1) + np.float32(0.2125) * t)
    tail = e * horner(_TAIL, z) * z
    density = e * np.float32(0.3989422804014327)
    return (tail if x < np.float32(0) else np.float32(1) - tail), density


@kernel
def relu(X: Any, Y: Any) -> None:
    """One pass. NaN stays NaN: it is not above 0 and not equal to itself."""
    zero = X.dtype.type(0)
    for i in range(X.shape[0]):
        x = X[i]
        Y[i] = x if x > zero or x != x else zero


@kernel
def add_bias(X: Any, b: Any) -> None:
    """In place, row by row. NumPy takes five times as long beyond the cache (AMD EPYC, Zen 4)."""
    for i in range(X.shape[0]):
        add(b, X[i])


@kernel
def add_relu(X: Any, b: Any) -> None:
    """In place, row by row, like `relu`."""
    zero = X.dtype.type(0)
    for i in range(X.shape[0]):
        x = X[i]
        for o in range(x.shape[0]):
            value = x[o] + b[o]
            x[o] = value if value > zero or value != value else zero


@kernel
def gelu(X: Any, Y: Any, S: Any) -> None:
    """The function and, unless S is None, its derivative, which needs the same exponential."""
    for i in range(X.shape[0]):
        # Beyond 20 the function is 0 or X. The bounds avoid infinity * 0.
        x = max(X[i], np.float32(-20))
        P, p = _normal(x)
        Y[i] = x * P
        if S is not None:
            S[i] = P + min(x, np.float32(20)) * p


@kernel
def softmax(X: Any, Y: Any) -> None:
    """For each row: the maximum, then the exponentials, then their sum and the quotients."""
    tiny = np.float32(1.1754944e-38)
    for i in range(X.shape[0]):
        x, y = X[i], Y[i]
        most = x[0]
        for k in range(x.shape[0]):
            most = max(most, x[k])
        for k in range(x.shape[0]):
            y[k] = exp(x[k] - most)
        total = np.float32(0)
        for k in range(x.shape[0]):
            total += y[k]
        share = np.float32(1) / total
        for k in range(x.shape[0]):
            y[k] = max(y[k] * share, tiny)


@kernel
def backprop_softmax(dY: Any, Y: Any, dX: Any) -> None:
    """For each row: first the sum of the products, then the gradients."""
    for i in range(Y.shape[0]):
        d, y, x = dY[i], Y[i], dX[i]
        total = y.dtype.type(0)
        for k in range(y.shape[0]):
            total += y[k] * d[k]
        for k in range(y.shape[0]):
            x[k] = y[k] * (d[k] - total)


@kernel
def add_maxout(Z: Any, b: Any, Y: Any, which: Any) -> None:
    """One pass per piece. A row's piece is contiguous, because pieces are the first axis."""
    for i in range(Z.shape[0]):
        y, w, z, c = Y[i], which[i], Z[i, 0], b[0]
        for o in range(y.shape[0]):
            y[o] = z[o] + c[o]
            w[o] = 0
        for p in range(1, Z.shape[1]):
            z, c = Z[i, p], b[p]
            piece = np.uint8(p)
            for o in range(y.shape[0]):
                value = z[o] + c[o]
                # As in numpy.maximum, NaN wins, and the first NaN wins over later ones.
                better = value > y[o] or (value != value and y[o] == y[o])
                y[o] = value if better else y[o]
                w[o] = piece if better else w[o]


@kernel
def backprop_maxout(dY: Any, which: Any, dZ: Any) -> None:
    """The gradient for the piece that won, and 0 for the others."""
    zero = dY.dtype.type(0)
    for i in range(dY.shape[0]):
        d, w = dY[i], which[i]
        for p in range(dZ.shape[1]):
            z = dZ[i, p]
            piece = np.uint8(p)
            for o in range(d.shape[0]):
                z[o] = d[o] if w[o] == piece else zero


@kernel
def layer_norm(X: Any, G: Any, b: Any, eps: Any, Y: Any, N: Any, scale: Any) -> None:
    """For each row: the mean, then the variance around it, then the result."""
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


@kernel
def backprop_layer_norm(dY: Any, N: Any, scale: Any, G: Any, dX: Any, dG: Any, db: Any) -> None:
    """For each row: two means, then dX, then its share of dG and db."""
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
        projection = product / dY.dtype.type(nI)
        for o in range(nI):
            x[o] = (d[o] * G[o] - mean - n[o] * projection) * scale[i, 0]
        for o in range(nI):
            dG[o] += d[o] * n[o]
            db[o] += d[o]

"""Kernels for the steps of an LSTM."""

from typing import Any

import numpy as np

from combinet.ops.kernels.compiled import kernel


@kernel
def _tanh(x: Any) -> Any:
    """Returns tanh(x) in float32, to within 2e-7.

    Lambert's continued fraction for x / 2, up to x**7, gives p / q, and tanh(x) is 2pq / (pp + qq).
    Beyond 9 the result rounds to 1. NaN stays NaN.
    """
    bounded = min(max(x, np.float32(-9)), np.float32(9))
    y = (bounded if x == x else x) * np.float32(0.5)
    s = y * y
    p = y * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
    q = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
    return np.float32(2) * p * q / (p * p + q * q)


@kernel
def lstm_cell(Z: Any, R: Any, half: Any, last: Any, C: Any, T: Any, Y: Any) -> None:
    """Row by row, in float32, with a tanh that the compiler vectorizes."""
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


@kernel
def lstm_alone(Z: Any, U: Any, half: Any, reverse: bool, C: Any, T: Any, Y: Any) -> None:
    """All steps of one sequence. A call of BLAS at each step would take longer than the product."""
    nothing, start = np.zeros((1, Z.shape[1]), Z.dtype), np.zeros((1, C.shape[1]), Z.dtype)
    for step in range(Z.shape[0]):
        t = Z.shape[0] - 1 - step if reverse else step
        before = t + 1 if reverse else t - 1
        z = Z[t]
        if step > 0:
            for j in range(U.shape[0]):
                y, u = Y[before, j], U[j]
                for k in range(z.shape[0]):
                    z[k] += y * u[k]
        last = C[before : before + 1] if step > 0 else start
        lstm_cell(Z[t : t + 1], nothing, half, last, C[t : t + 1], T[t : t + 1], Y[t : t + 1])


@kernel
def backprop_lstm_cell(dY: Any, gates: Any, last: Any, T: Any, dH: Any, dC: Any, dZ: Any) -> None:
    """Writes dZ; changes dH, and replaces dC by the gradient of the previous step's cells.

    Each loop uses few arrays, because the compiler does not vectorize loops over many arrays.
    """
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

"""Recurrent steps over packed rows.

The rows of step 0 of all sequences come first, then the rows of step 1, and so on. Within a step,
the longest sequences come first. An `Order` is a pair (sizes, reverse). `sizes` is the number of
sequences that are running at each step. It never increases and lies on the host. Therefore row i of
a step continues row i of the previous step, and no padding is needed. If `reverse`, each sequence
is read from its end, and row i of a step continues row i of the next step.

The input's part Z = X @ W.T + b of all steps is one product, which the caller computes. The methods
here compute only what depends on the previous step: one product with the recurrent weights U and
one cell step. U is (nO, gates * nO), used as Y[t-1] @ U.

The sigmoid of x is computed as (1 + tanh(x / 2)) / 2. This cannot overflow, and one call of tanh
computes all gates of a step.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from combinet.ops.sequence import SequenceOps
from combinet.types import Array, Floats1d, Floats2d, Ints1d

Order: TypeAlias = "tuple[Ints1d, bool]"


def steps(sizes: Ints1d, reverse: bool = False) -> Iterator[tuple[slice, slice, slice]]:
    """Yields for each step its rows, the rows that they continue, and the sequences that continue.

    If `reverse`, time runs from the last step to the first. Then only the first sequences of a step
    continue a row; the others, which are shorter, begin.
    """
    ends = np.cumsum(sizes).tolist()
    blocks = [(end - n, n) for end, n in zip(ends, sizes.tolist(), strict=True) if n]
    before = continued = 0
    for begin, n in reversed(blocks) if reverse else blocks:
        continued = min(continued, n)
        yield slice(begin, begin + n), slice(before, before + continued), slice(0, continued)
        before, continued = begin, n


def filled(state: Any, continued: Any, rows: slice) -> Any:
    """Returns the previous state of each row of a step, with zeros for sequences that begin.

    It is `continued` if all sequences continue, otherwise a view of `state`, which is overwritten.
    """
    n, begin = rows.stop - rows.start, len(continued)
    if begin == n:
        return continued
    state[:begin] = continued
    state[begin:n] = 0
    return state[:n]


class RecurrentOps(SequenceOps):
    """Part of `Ops`: recurrent layers, without the product of input and weights.

    Forward methods return the outputs Y (n, nO) and `saved`. The rows are packed: `order` is a pair
    (sizes, reverse), with the number of running sequences at each step on the host, and whether
    each sequence is read from its end. Y[t-1] is the row that a row continues, or 0 if it begins a
    sequence.
    """

    def previous_rows(self, Y: Floats2d, order: Order) -> Floats2d:
        """Returns for each row of Y the row that it continues, or zeros at the start of a sequence.

        Y and the result are (n, nO). `order` is the pair (sizes, reverse) of the packed rows.
        """
        sizes, reverse = order
        later = np.arange(sizes[:1].sum(), sizes.sum())
        earlier = later - np.repeat(sizes[:-1], sizes[1:])
        index = np.full(len(Y), -1)
        index[earlier if reverse else later] = later if reverse else earlier
        rows: Any = self.take_rows(Y, np.maximum(index, 0))
        rows[self.xp.asarray(np.flatnonzero(index < 0))] = 0
        return rows

    def backprop_recurrent_weights(self, dR: Floats2d, Y: Floats2d, order: Order) -> Floats2d:
        """Returns the gradient of U, an array (nO, gates * nO).

        dR (n, gates * nO) is the gradient of Y[t-1] @ U for each row, Y (n, nO) the output of the
        layer, and `order` the pair (sizes, reverse).
        """
        dU = self.empty((Y.shape[1], dR.shape[1]), Y.dtype)
        return self.xp.matmul(self.previous_rows(Y, order).T, dR, out=dU)

    def _steps(
        self, U: Floats2d, Y: Floats2d, state: Any, order: Order
    ) -> Iterator[tuple[slice, Any, Any]]:
        """Yields for each step its rows, the state that they continue, and Y[t-1] @ U."""
        product = self.zeros((int(order[0][:1].sum()), U.shape[1]), U.dtype)
        start = self.empty((len(product), state.shape[1]), U.dtype)
        for rows, before, continued in steps(*order):
            last = filled(start, state[before], rows)
            if continued.stop:
                self.xp.matmul(Y[before], U, out=product[continued])
            yield rows, last, product[: len(last)]

    def lstm(self, Z: Floats2d, U: Floats2d, order: Order) -> tuple[Floats2d, Any]:
        """Returns the outputs Y (n, nO) of an LSTM, and `saved`. Overwrites Z with the gates.

            i, f, g, o = the four parts of Z[t] + Y[t-1] @ U, after sigmoid (i, f, o) or tanh (g)
            C[t] = f * C[t-1] + i * g
            Y[t] = o * tanh(C[t])

        Before the first step, Y and C are 0. Z is (n, 4 * nO), U is (nO, 4 * nO), and `order` is
        the pair (sizes, reverse).
        """
        xp, nO = self.xp, U.shape[0]
        Y, C, T = (xp.empty((Z.shape[0], nO), dtype=Z.dtype) for _ in range(3))
        half = xp.asarray(halves((True, True, False, True), nO, Z.dtype))
        for rows, last, R in self._steps(U, Y, C, order):
            self.lstm_cell(Z[rows], R, half, last, C[rows], T[rows], Y[rows])
        return Y, (Z, C, T, U, order)

    def lstm_cell(self, Z: Any, R: Any, half: Any, last: Any, C: Any, T: Any, Y: Any) -> None:
        """Computes one step of `lstm` for k rows and writes its results into Z, C, T and Y.

        Z becomes the gates of Z + R, where R is the recurrent part. C becomes f * last + i * g, T
        becomes tanh(C), and Y becomes o * T. Z and R are (k, 4 * nO), the arrays `last`, C, T and Y
        are (k, nO). `half` (4 * nO,) is 1/2 for columns whose gate is a sigmoid, and 1 for the
        others.
        """
        xp, nO = self.xp, C.shape[1]
        Z += R
        Z *= half
        xp.tanh(Z, out=Z)
        Z *= half
        Z += 1 - half
        i, f, g, o = (Z[:, k * nO : (k + 1) * nO] for k in range(4))
        xp.multiply(f, last, out=C)
        C += i * g
        xp.tanh(C, out=T)
        xp.multiply(o, T, out=Y)

    def backprop_lstm(self, dY: Floats2d, saved: Any) -> Floats2d:
        """Returns the gradient of Z (n, 4 * nO), given the gradient dY (n, nO).

        `saved` is the second result of `lstm`. The factors of the gradients of a step do not depend
        on later steps, so they are computed for all steps at once. The loop over steps only passes
        the gradients of Y and C to the previous step.
        """
        gates, C, T, U, order = saved
        xp, (n, nO) = self.xp, C.shape
        i, f, g, o = (gates[:, k * nO : (k + 1) * nO] for k in range(4))
        dZ: Any = gates * (1 - gates)  # the derivative of a sigmoid s is s * (1 - s)
        d_gates = dZ.reshape(n, 4, nO)
        d_gates[:, 0] *= g
        d_gates[:, 1] *= self.previous_rows(C, order)
        d_gates[:, 2] = i * (1 - g * g)
        d_gates[:, 3] *= T
        derivative = o * (1 - T * T)
        dH, dC = (xp.zeros((int(order[0][:1].sum()), nO), dtype=dY.dtype) for _ in range(2))
        for rows, _, continued in reversed(list(steps(*order))):
            n = rows.stop - rows.start
            dh, dc = dH[:n], dC[:n]
            dh += dY[rows]
            dc += dh * derivative[rows]
            d_gates[rows, :3] *= dc[:, None]
            d_gates[rows, 3] *= dh
            if continued.stop:
                dc *= f[rows]
                xp.matmul(dZ[rows][continued], U.T, out=dH[continued])
        return dZ

    def gru(self, Z: Floats2d, U: Floats2d, c: Floats1d, order: Order) -> tuple[Floats2d, Any]:
        """Returns the outputs Y (n, nO) of a GRU, and `saved`. Overwrites Z with the gates.

            r, z = sigmoid of the parts r and z of Z[t] + Y[t-1] @ U
            M = part n of Y[t-1] @ U, plus c
            n = tanh(part n of Z[t] + r * M)
            Y[t] = (1 - z) * n + z * Y[t-1]

        Before the first step, Y is 0. Z is (n, 3 * nO), U is (nO, 3 * nO), c is (nO,), and `order`
        is the pair (sizes, reverse).
        """
        xp, nO = self.xp, U.shape[0]
        Y, M = (xp.empty((Z.shape[0], nO), dtype=Z.dtype) for _ in range(2))
        half = xp.asarray(halves((True, True, False), nO, Z.dtype))
        Z *= half
        for rows, last, R in self._steps(U * half, Y, Y, order):
            both, new = Z[rows, : 2 * nO], Z[rows, 2 * nO :]
            both += R[:, : 2 * nO]
            xp.tanh(both, out=both)
            both *= 0.5
            both += 0.5
            xp.add(R[:, 2 * nO :], c, out=M[rows])
            new += both[:, :nO] * M[rows]
            xp.tanh(new, out=new)
            y = xp.subtract(last, new, out=Y[rows])
            y *= both[:, nO:]
            y += new
        return Y, (Z, Y, M, U, order)

    def backprop_gru(self, dY: Floats2d, saved: Any) -> tuple[Floats2d, Floats2d]:
        """Returns the gradients of Z and of the recurrent part Y[t-1] @ U, both (n, 3 * nO).

        dY (n, nO) is the gradient of Y, and `saved` the second result of `gru`. The two gradients
        differ only in the part n, because r multiplies the recurrent part.
        """
        gates, Y, M, U, order = saved
        xp, (n, nO) = self.xp, Y.shape
        r, z, new = (gates[:, k * nO : (k + 1) * nO] for k in range(3))
        dR: Any = gates * (1 - gates)
        d_gates = dR.reshape(n, 3, nO)
        derivative = (1 - z) * (1 - new * new)  # with respect to the argument of the tanh
        d_gates[:, 0] *= M
        d_gates[:, 0] *= derivative
        d_gates[:, 1] *= self.previous_rows(Y, order) - new
        d_gates[:, 2] = derivative * r
        dH = xp.zeros((int(order[0][:1].sum()), nO), dtype=dY.dtype)
        for rows, _, continued in reversed(list(steps(*order))):
            dh = dH[: rows.stop - rows.start]
            dh += dY[rows]
            d_gates[rows] *= dh[:, None]
            derivative[rows] *= dh
            if continued.stop:
                dh *= z[rows]
                dH[continued] += xp.matmul(dR[rows][continued], U.T)
        dZ = xp.concatenate([dR[:, : 2 * nO], derivative], axis=1)
        return dZ, dR

    def rnn(self, Z: Floats2d, U: Floats2d, activation: str, order: Order) -> tuple[Floats2d, Any]:
        """Returns Y[t] = activation(Z[t] + Y[t-1] @ U), stored in the memory of Z, and `saved`.

        `activation` is "tanh" or "relu". Z is (n, nO), U is (nO, nO), and `order` is the pair
        (sizes, reverse). Before the first step, Y is 0.
        """
        xp = self.xp
        product = xp.empty((int(order[0][:1].sum()), U.shape[1]), dtype=Z.dtype)
        for rows, before, continued in steps(*order):
            y = Z[rows]
            if continued.stop:
                y[continued] += xp.matmul(Z[before], U, out=product[continued])
            if activation == "tanh":
                xp.tanh(y, out=y)
            else:
                xp.maximum(y, 0, out=y)
        return Z, (Z, U, activation, order)

    def backprop_rnn(self, dY: Floats2d, saved: Any) -> Floats2d:
        """Returns the gradient of Z (n, nO), given the gradient dY (n, nO).

        `saved` is the second result of `rnn`.
        """
        Y, U, activation, order = saved
        xp = self.xp
        dZ: Any = 1 - Y * Y if activation == "tanh" else (Y > 0).astype(dY.dtype)
        dH = xp.zeros((int(order[0][:1].sum()), U.shape[0]), dtype=dY.dtype)
        for rows, _, continued in reversed(list(steps(*order))):
            dh = dH[: rows.stop - rows.start]
            dh += dY[rows]
            dZ[rows] *= dh
            if continued.stop:
                xp.matmul(dZ[rows][continued], U.T, out=dH[continued])
        return dZ


@lru_cache(64)
def halves(gates: tuple[bool, ...], nO: int, dtype: Any) -> Array:
    """Returns 1/2 for each column whose gate is a sigmoid, and 1 for the others."""
    return np.where(np.repeat(gates, nO), 0.5, 1.0).astype(dtype)

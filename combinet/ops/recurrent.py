"""Recurrent steps over packed rows: those of step 0, then those of step 1, longest sequences first.

An `Order` is `sizes` and `reverse`. `sizes` says how many sequences are still running at each step
(it never rises, and lies on the host), so that row i of a step continues row i of the step before,
and there is no padding at all. With `reverse` each sequence is read from its end, and row i
continues row i of the step after.
The input's part of every step, Z, is one product and comes in; what is done here is what has to
wait for the step before: one product with the recurrent weights and one cell step. Sigmoids are
(1 + tanh(x / 2)) / 2, which cannot overflow, so that a step's gates are one call of tanh.

Recurrent weights come as (nO, gates * nO), to be multiplied from the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from combinet.ops.sequence import SequenceOps
from combinet.types import Array, Floats1d, Floats2d, Ints1d

Order: TypeAlias = "tuple[Ints1d, bool]"


def steps(sizes: Ints1d, reverse: bool = False) -> Iterator[tuple[slice, slice, slice]]:
    """For each step: its rows, the rows that they continue, and the sequences that continue.

    With `reverse`, time runs from the last step to the first. Then only the first sequences of a
    step continue; the others, which are shorter, begin.
    """
    ends = np.cumsum(sizes).tolist()
    blocks = [(end - n, n) for end, n in zip(ends, sizes.tolist(), strict=True) if n]
    before = continued = 0
    for begin, n in reversed(blocks) if reverse else blocks:
        continued = min(continued, n)
        yield slice(begin, begin + n), slice(before, before + continued), slice(0, continued)
        before, continued = begin, n


def filled(state: Any, continued: Any, rows: slice) -> Any:
    """The state before a step, in `state`: of the sequences that continue, and zeros for others."""
    n, begin = rows.stop - rows.start, len(continued)
    if begin == n:
        return continued
    state[:begin] = continued
    state[begin:n] = 0
    return state[:n]


class RecurrentOps(SequenceOps):
    """Mixed into `Ops`: recurrent layers, without their input's product.

    Each returns its outputs, and what its backward pass needs.
    """

    def previous_rows(self, Y: Floats2d, order: Order) -> Floats2d:
        """For each row, the row that it continues; zeros for a row that begins a sequence."""
        sizes, reverse = order
        later = np.arange(sizes[:1].sum(), sizes.sum())
        earlier = later - np.repeat(sizes[:-1], sizes[1:])
        index = np.full(len(Y), -1)
        index[earlier if reverse else later] = later if reverse else earlier
        rows: Any = self.take_rows(Y, np.maximum(index, 0))
        rows[self.xp.asarray(np.flatnonzero(index < 0))] = 0
        return rows

    def backprop_recurrent_weights(self, dR: Floats2d, Y: Floats2d, order: Order) -> Floats2d:
        """The gradient of U (nO, gates * nO), given that of each row's recurrent part."""
        dU = self.empty((Y.shape[1], dR.shape[1]), Y.dtype)
        return self.xp.matmul(self.previous_rows(Y, order).T, dR, out=dU)

    def _steps(
        self, U: Floats2d, Y: Floats2d, state: Any, order: Order
    ) -> Iterator[tuple[slice, Any, Any]]:
        """For each step its rows, the state that they continue, and Y[t-1] @ U, from zeros on."""
        product = self.zeros((int(order[0][:1].sum()), U.shape[1]), U.dtype)
        start = self.empty((len(product), state.shape[1]), U.dtype)
        for rows, before, continued in steps(*order):
            last = filled(start, state[before], rows)
            if continued.stop:
                self.xp.matmul(Y[before], U, out=product[continued])
            yield rows, last, product[: len(last)]

    def lstm(self, Z: Floats2d, U: Floats2d, order: Order) -> tuple[Floats2d, Any]:
        """Y, the outputs, and the cells C, (n, nO) both. Z (n, 4 * nO) becomes the gates.

        i, f, o = sigmoid, g = tanh of the four parts i, f, g, o of Z[t] + Y[t-1] @ U;
        C[t] = f * C[t-1] + i * g; Y[t] = o * tanh(C[t]). Before step 0 both are 0.
        """
        xp, nO = self.xp, U.shape[0]
        Y, C, T = (xp.empty((Z.shape[0], nO), dtype=Z.dtype) for _ in range(3))
        half = xp.asarray(halves((True, True, False, True), nO, Z.dtype))
        for rows, last, R in self._steps(U, Y, C, order):
            self.lstm_cell(Z[rows], R, half, last, C[rows], T[rows], Y[rows])
        return Y, (Z, C, T, U, order)

    def lstm_cell(self, Z: Any, R: Any, half: Any, last: Any, C: Any, T: Any, Y: Any) -> None:
        """One step of `lstm`: the gates of Z + R into Z, then the cells C, their tanh T, and Y.

        `half` is 1/2 where the gate is a sigmoid, else 1.
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
        """The gradient of Z, (n, 4 * nO).

        What the gradients of a step are multiplied by does not depend on later steps: it is
        computed for all steps at once, and the steps only carry dY and dC to the one before.
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
        """Y, the outputs, and M, the new gate's recurrent part, (n, nO) both. Z becomes the gates.

        r, z = sigmoid of the parts r, z of Z[t] + Y[t-1] @ U; M = c + the part n of Y[t-1] @ U;
        n = tanh(part n of Z[t] + r * M); Y[t] = (1 - z) * n + z * Y[t-1]. Before step 0 Y is 0.
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
        """The gradients of Z and of each row's recurrent part, (n, 3 * nO) both.

        They differ in the new gate, whose recurrent part is multiplied by r.
        """
        gates, Y, M, U, order = saved
        xp, (n, nO) = self.xp, Y.shape
        r, z, new = (gates[:, k * nO : (k + 1) * nO] for k in range(3))
        dR: Any = gates * (1 - gates)
        d_gates = dR.reshape(n, 3, nO)
        derivative = (1 - z) * (1 - new * new)  # of the new gate's argument
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
        """Y[t] = activation(Z[t] + Y[t-1] @ U), (n, nO), in the place of Z: "tanh" or "relu"."""
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
        """The gradient of Z, (n, nO)."""
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
    """For each column of the gates 1/2 where it is a sigmoid, else 1."""
    return np.where(np.repeat(gates, nO), 0.5, 1.0).astype(dtype)

"""Steps over sequences that lie one after the other in one array, and the padded form of them.

`lengths` (one int a sequence) always lies on the host, in NumPy: what is derived from it needs no
word from the GPU. Index arrays made here go to the device; nothing comes back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.types import Array, Floats1d, Floats2d, Ints1d


def offsets(lengths: Ints1d) -> Ints1d:
    """The row at which each sequence begins."""
    ends: Ints1d = np.cumsum(lengths)
    return ends - lengths


def segment_ids(lengths: Ints1d) -> Ints1d:
    """For each row, the number of the sequence that it is in."""
    return np.repeat(np.arange(len(lengths)), lengths)


def positions(lengths: Ints1d) -> Ints1d:
    """For each row, how far it is from the start of its sequence."""
    return np.arange(int(lengths.sum())) - np.repeat(offsets(lengths), lengths)


def time_major_order(lengths: Ints1d) -> tuple[Ints1d, Ints1d]:
    """The rows of all sequences step after step, longest first, and how many have each step."""
    order = np.argsort(-lengths, kind="stable")
    step = np.arange(int(lengths.max(initial=0)))[:, None]
    real = step < lengths[order]
    rows: Ints1d = (offsets(lengths)[order] + step)[real]
    return rows, real.sum(axis=1)


class SequenceOps(ArrayOps):
    """Mixed into `Ops`: windows, padding, and reductions of sequences to one row each."""

    def expand_window(self, X: Floats2d, window: int, lengths: Ints1d) -> Floats2d:
        """Each row between its `window` neighbours on either side: (n, nI) -> (n, (2w+1) * nI).

        Beyond the ends of the row's own sequence there are zeros.
        """
        n, nI = X.shape
        Y: Any = self.xp.empty((n, 2 * window + 1, nI), dtype=X.dtype)
        Y[:, window] = X
        for step in range(1, window + 1):
            left, right = Y[:, window - step], Y[:, window + step]
            left[step:] = X[:-step]
            right[:-step] = X[step:]
            head, tail = self._edges(lengths, step)
            left[head] = 0
            right[tail] = 0
        return Y.reshape(n, (2 * window + 1) * nI)

    def backprop_expand_window(self, dY: Floats2d, window: int, lengths: Ints1d) -> Floats2d:
        """The gradient of X: each row's share in its own window and in its neighbours'."""
        n, width = dY.shape[0], 2 * window + 1
        shares: Any = dY.reshape(n, width, dY.shape[1] // width)
        dX: Floats2d = shares[:, window].copy()
        for step in range(1, window + 1):
            head, tail = self._edges(lengths, step)
            left, right = shares[:, window - step].copy(), shares[:, window + step].copy()
            left[head] = 0
            right[tail] = 0
            dX[:-step] += left[step:]
            dX[step:] += right[:-step]
        return dX

    def _edges(self, lengths: Ints1d, step: int) -> tuple[Any, Any]:
        """The first and the last `step` rows of each sequence, as indices on the device."""
        place = positions(lengths)
        from_end = np.repeat(lengths, lengths) - place
        asarray = self.xp.asarray
        return asarray(np.flatnonzero(place < step)), asarray(np.flatnonzero(from_end <= step))

    def scatter_rows(self, X: Array, rows: Ints1d, n: int, fill: float = 0) -> Array:
        """An array of `n` rows, with row i of X at rows[i] and `fill` in all others."""
        Y = self.empty((n, *X.shape[1:]), X.dtype)
        Y[...] = fill
        Y[self.xp.asarray(rows)] = X
        return Y

    def take_rows(self, X: Array, rows: Ints1d) -> Array:
        """The rows of X with these numbers, in that order."""
        return X[self.xp.asarray(rows)]

    def repeat_rows(self, X: Array, lengths: Ints1d) -> Array:
        """Row i of X lengths[i] times: what each sequence has, given to each of its rows."""
        return X[self.xp.asarray(segment_ids(lengths))]

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """The sum of each sequence's rows: (total, nO) -> (sequences, nO)."""
        Y: Floats2d = self.xp.zeros((len(lengths), *X.shape[1:]), dtype=X.dtype)
        self.xp.add.at(Y, self.xp.asarray(segment_ids(lengths)), X)
        return Y

    def reduce_max(self, X: Floats2d, lengths: Ints1d) -> tuple[Floats2d, Array]:
        """The largest of each sequence's rows, by column, and the row that it stood in.

        Of equal ones the first counts. Every sequence has at least one row.
        """
        n, longest = len(lengths), int(lengths.max(initial=1))
        rows = segment_ids(lengths) * longest + positions(lengths)
        padded = self.scatter_rows(X, rows, n * longest, -np.inf).reshape(n, longest, *X.shape[1:])
        which = padded.argmax(axis=1) + self.xp.asarray(offsets(lengths)[:, None])
        return padded.max(axis=1), which

    def backprop_reduce_max(self, dY: Floats2d, which: Array, n: int) -> Floats2d:
        """The gradient of X (n, nO): each of dY goes to the row that was the largest."""
        dX: Floats2d = self.xp.zeros((n, dY.shape[1]), dtype=dY.dtype)
        dX[which, self.xp.arange(dY.shape[1])] = dY
        return dX

    def softmax_sequences(self, X: Floats1d, lengths: Ints1d) -> Floats1d:
        """exp(X) / sum(exp(X)), the sum over each sequence alone: (total,) -> (total,)."""
        full = lengths[lengths > 0]
        scores: Any = X.reshape(-1, 1)
        Y: Any = self.xp.exp(scores - self.repeat_rows(self.reduce_max(scores, full)[0], full))
        Y /= self.repeat_rows(self.reduce_sum(Y, full), full)
        return Y.reshape(-1)

    def backprop_softmax_sequences(self, dY: Floats1d, Y: Floats1d, lengths: Ints1d) -> Floats1d:
        """Y * (dY - sum(Y * dY)), the sum over each sequence alone."""
        dX = Y * dY
        sums: Any = self.reduce_sum(dX.reshape(-1, 1), lengths)
        dX -= Y * self.repeat_rows(sums, lengths).reshape(-1)
        return dX

"""Sequences whose rows follow each other in one array: windows, rows by number, reductions.

`lengths`, one int per sequence, is always a NumPy array on the host. Therefore indices are computed
from it without waiting for the GPU. Index arrays are copied to the device, and nothing is copied
back.
"""

from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.types import Array, Floats1d, Floats2d, Ints1d


def offsets(lengths: Ints1d) -> Ints1d:
    """Returns the first row of each sequence."""
    ends: Ints1d = np.cumsum(lengths)
    return ends - lengths


def segment_ids(lengths: Ints1d) -> Ints1d:
    """Returns the sequence number of each row."""
    return np.repeat(np.arange(len(lengths)), lengths)


def positions(lengths: Ints1d) -> Ints1d:
    """Returns the position of each row in its sequence, from 0."""
    return np.arange(int(lengths.sum())) - np.repeat(offsets(lengths), lengths)


def time_major_order(lengths: Ints1d) -> tuple[Ints1d, Ints1d]:
    """Returns the rows of all sequences, step by step, and the number of rows of each step.

    Within a step, the longest sequences come first.
    """
    order = np.argsort(-lengths, kind="stable")
    step = np.arange(int(lengths.max(initial=0)))[:, None]
    real = step < lengths[order]
    rows: Ints1d = (offsets(lengths)[order] + step)[real]
    return rows, real.sum(axis=1)


class SequenceOps(ArrayOps):
    """Part of `Ops`: windows over sequences, rows by number, and reductions of sequences.

    `lengths` is the number of rows of each sequence, a NumPy array of ints on the host. Their sum
    is the number of rows of X.
    """

    def expand_window(self, X: Floats2d, window: int, lengths: Ints1d) -> Floats2d:
        """Returns each row side by side with its `window` neighbors before and after it.

        X is (n, nI), and the result is (n, (2 * window + 1) * nI), with the earliest neighbor
        first. Neighbors outside the row's sequence are zeros. `lengths` gives the sequences.
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
        """Returns the gradient of X (n, nI): for each row the sum of its gradients in all windows.

        dY (n, (2 * window + 1) * nI) is the gradient of the result of `expand_window` for the same
        `lengths`.
        """
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
        """Returns the first and the last `step` rows of each sequence, as indices on the device."""
        place = positions(lengths)
        from_end = np.repeat(lengths, lengths) - place
        asarray = self.xp.asarray
        return asarray(np.flatnonzero(place < step)), asarray(np.flatnonzero(from_end <= step))

    def scatter_rows(self, X: Array, rows: Ints1d, n: int, fill: float = 0) -> Array:
        """Returns an array of `n` rows with X[i] at rows[i] and `fill` in all other rows.

        `rows` are distinct ints, one for each row of X.
        """
        Y = self.empty((n, *X.shape[1:]), X.dtype)
        Y[...] = fill
        Y[self.xp.asarray(rows)] = X
        return Y

    def take_rows(self, X: Array, rows: Ints1d) -> Array:
        """Returns X[rows]: the rows of X with these numbers, in this order."""
        return X[self.xp.asarray(rows)]

    def repeat_rows(self, X: Array, lengths: Ints1d) -> Array:
        """Returns X[i] repeated lengths[i] times, for each i: one copy per row of the sequence."""
        return X[self.xp.asarray(segment_ids(lengths))]

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """Returns the sum of the rows of each sequence.

        X is (n, nO), and the result is (len(lengths), nO). An empty sequence gives zeros.
        """
        Y: Floats2d = self.xp.zeros((len(lengths), *X.shape[1:]), dtype=X.dtype)
        self.xp.add.at(Y, self.xp.asarray(segment_ids(lengths)), X)
        return Y

    def reduce_max(self, X: Floats2d, lengths: Ints1d) -> tuple[Floats2d, Array]:
        """Returns the maximum of each column over the rows of each sequence, and its row number.

        X is (n, nO), and both results are (len(lengths), nO). Among equal values the first row
        wins. Each sequence must have at least one row.
        """
        n, longest = len(lengths), int(lengths.max(initial=1))
        rows = segment_ids(lengths) * longest + positions(lengths)
        padded = self.scatter_rows(X, rows, n * longest, -np.inf).reshape(n, longest, *X.shape[1:])
        which = padded.argmax(axis=1) + self.xp.asarray(offsets(lengths)[:, None])
        return padded.max(axis=1), which

    def backprop_reduce_max(self, dY: Floats2d, which: Array, n: int) -> Floats2d:
        """Returns the gradient of X (n, nO): each element of dY at the row that had the maximum.

        dY is (sequences, nO), `which` is the second result of `reduce_max`, and `n` is the number
        of rows.
        """
        dX: Floats2d = self.xp.zeros((n, dY.shape[1]), dtype=dY.dtype)
        dX[which, self.xp.arange(dY.shape[1])] = dY
        return dX

    def softmax_sequences(self, X: Floats1d, lengths: Ints1d) -> Floats1d:
        """Returns exp(X) / sum(exp(X)), with the sum over each sequence separately.

        X and the result are (n,). `lengths` gives the sequences.
        """
        full = lengths[lengths > 0]
        scores: Any = X.reshape(-1, 1)
        Y: Any = self.xp.exp(scores - self.repeat_rows(self.reduce_max(scores, full)[0], full))
        Y /= self.repeat_rows(self.reduce_sum(Y, full), full)
        return Y.reshape(-1)

    def backprop_softmax_sequences(self, dY: Floats1d, Y: Floats1d, lengths: Ints1d) -> Floats1d:
        """Returns the gradient of X, Y * (dY - sum(Y * dY)), with the sum over each sequence.

        dY and Y are (n,), and Y is the result of `softmax_sequences` for the same `lengths`.
        """
        dX = Y * dY
        sums: Any = self.reduce_sum(dX.reshape(-1, 1), lengths)
        dX -= Y * self.repeat_rows(sums, lengths).reshape(-1)
        return dX

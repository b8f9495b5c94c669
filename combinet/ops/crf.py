"""Conditional random fields: sums over all label sequences, and the best label sequence.

Rows are packed as in `recurrent.py`: first the rows of step 0 of all sequences, then the rows of
step 1, with the longest sequences first. A path gives each row of a sequence one of k labels. Its
score is the sum of the scores X of its labels, the scores T[i, j] of each label j that follows a
label i, `start` of its first label, and `end` of its last label. The probability of a path is
proportional to exp(score). Sums over paths are logarithms of sums of exponentials, computed after
subtracting the maximum, so that no score overflows.
"""

from typing import Any

import numpy as np

from combinet.ops.recurrent import RecurrentOps, steps
from combinet.ops.sequence import positions
from combinet.types import Array, Floats, Floats1d, Floats2d, Ints1d


class CrfOps(RecurrentOps):
    """Part of `Ops`: linear-chain conditional random fields, together with the recurrent layers.

    X is (n, k), T is (k, k), `start` and `end` are (k,). `sizes` is the number of sequences that
    are running at each step, a NumPy array on the host.
    """

    def crf_loss(
        self, X: Floats2d, Y: Floats2d, T: Floats2d, start: Floats1d, end: Floats1d, sizes: Ints1d
    ) -> tuple[Floats, tuple[Floats2d, Floats2d, Floats1d, Floats1d]]:
        """Returns -log of the probability of all true labels, and the gradients of the scores.

        Y (n, k) is 1 at the true label of each row and 0 elsewhere. X is (n, k), T is (k, k),
        `start` and `end` are (k,). `sizes` is the number of sequences at each step. The value is an
        array without axes. The second result is a tuple of the gradients of X, T, `start` and
        `end`. The gradient of a score is its expected count minus its count in the true paths.

        Source: Lafferty et al. 2001, "Conditional random fields", section 3; Sutton and McCallum
        2012, arXiv:1011.4088, (5.5).
        """
        xp, n = self.xp, int(sizes[:1].sum())
        log_sum, P, pairs = self.crf_marginals(X, T, start, end, sizes)
        true_pairs = xp.matmul(self.previous_rows(Y, (sizes, False)).T, Y)
        still = np.repeat(np.append(sizes, 0)[1:], sizes)  # number of sequences in the next step
        ending = xp.asarray(np.flatnonzero(positions(sizes) >= still))
        firsts, lasts = Y[:n].sum(axis=0), Y[ending].sum(axis=0)
        ends = start * firsts + end * lasts
        true = sum(each.sum(dtype="float64") for each in (X * Y, T * true_pairs, ends))
        d_ends = P[:n].sum(axis=0) - firsts, P[ending].sum(axis=0) - lasts
        return (log_sum.sum() - true).astype(X.dtype), (P - Y, pairs - true_pairs, *d_ends)

    def crf_marginals(
        self, X: Floats2d, T: Floats2d, start: Floats1d, end: Floats1d, sizes: Ints1d
    ) -> tuple[Floats1d, Floats2d, Floats2d]:
        """Returns the log of the sum over all paths, label probabilities, and transition counts.

        X is (n, k), T is (k, k), `start` and `end` are (k,). `sizes` is the number of sequences at
        each step. The first result (sequences,) is a float64 array with the log sum of each
        sequence. The second result P (n, k) holds the probability of each label in each row. The
        third result pairs (k, k) holds the expected count of each transition from label i to label
        j, over all sequences.

        The log sums are computed backward. Then P is computed forward: the probability of a label
        is the sum over the previous labels of their probability times the probability of the
        transition. In float32, log sums that grow with the length would lose the digits in which
        labels differ. Therefore the maximum of each step is subtracted and added up separately in
        float64, and each row of P is divided by its sum.

        Source: Sutton and McCallum 2012, arXiv:1011.4088, (4.9), for the backward sums.
        """
        xp, n = self.xp, int(sizes[:1].sum())
        rest: Any = xp.empty_like(X)  # log of the sum over all continuations after each label
        rest[...] = end  # correct for the last row of a sequence; overwritten in all others
        whole: Any = xp.empty_like(X)  # the same before the maximum is subtracted
        taken: Any = xp.zeros(n, dtype="float64")
        for rows, before, running in reversed(list(steps(sizes))):
            if rows.start:
                whole[before] = _log_sum(xp, T + (X[rows] + rest[rows])[:, None])
                most = whole[before].max(axis=1)
                rest[before] = whole[before] - most[:, None]
                taken[running] += most
        first = X[:n] + rest[:n] + start
        log_sum = _log_sum(xp, first)
        P: Any = xp.empty_like(X)
        P[:n] = xp.exp(first - log_sum[:, None])
        pairs: Any = xp.zeros_like(T)
        for rows, before, _ in steps(sizes):
            if rows.start:
                ways = T + (X[rows] + rest[rows])[:, None]
                ways -= whole[before][:, :, None]
                xp.exp(ways, out=ways)
                ways *= P[before][:, :, None]
                P[rows] = ways.sum(axis=1)
                P[rows] /= P[rows].sum(axis=1, keepdims=True)
                pairs += ways.sum(axis=0)
        return taken + log_sum, P, pairs

    def viterbi(
        self, X: Floats2d, T: Floats2d, start: Floats1d, end: Floats1d, sizes: Ints1d
    ) -> Array:
        """Returns the labels (n,) of the path with the highest score for each sequence.

        X is (n, k), T is (k, k), `start` and `end` are (k,). `sizes` is the number of sequences at
        each step. Among equal labels the first wins.

        Source: Viterbi 1967; Rabiner 1989, "A tutorial on hidden Markov models", (32) to (35).
        """
        xp, k = self.xp, X.shape[1]
        best = X + 0
        best[: int(sizes[:1].sum())] += start
        came_from = xp.empty(X.shape, dtype="int64")
        for rows, before, _ in steps(sizes):
            if rows.start:
                ways = best[before][:, :, None] + T
                came_from[rows] = ways.argmax(axis=1)
                best[rows] += ways.max(axis=1)
        labels: Array = (best + end).argmax(axis=1)
        for rows, before, running in reversed(list(steps(sizes))):
            if rows.start:
                place = xp.arange(running.stop) * k + labels[rows]
                labels[before] = came_from[rows].reshape(-1)[place]
        return labels


def _log_sum(xp: Any, X: Any) -> Any:
    """Returns log(sum(exp(X))), with the sum over the last axis."""
    most = X.max(axis=-1, keepdims=True)
    X = X - most
    total = xp.exp(X, out=X).sum(axis=-1)
    return xp.log(total) + most[..., 0]

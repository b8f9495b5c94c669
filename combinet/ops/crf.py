"""A chain of labels, each scored with the one before: all ways to label a sequence, and the best.

Rows are packed as in `recurrent.py`: those of step 0, then those of step 1, longest sequences
first. A way's score is the sum of its labels' scores X and of what follows what: T[i, j] for label
j after i, `start` for the first row, `end` for the last. Sums over ways are taken as logarithms of
sums of exponentials, the largest taken out first, so that no score overflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.recurrent import RecurrentOps, steps
from combinet.ops.sequence import positions
from combinet.types import Array, Floats, Floats1d, Floats2d, Ints1d


class CrfOps(RecurrentOps):
    """Mixed into `Ops`: linear-chain conditional random fields, beside recurrent layers."""

    def crf_loss(
        self, X: Floats2d, Y: Floats2d, T: Floats2d, start: Floats1d, end: Floats1d, sizes: Ints1d
    ) -> tuple[Floats, tuple[Floats2d, Floats2d, Floats1d, Floats1d]]:
        """-log of the probability of all true labels, and its gradients by X, T, start and end.

        Y (n, k) is 1 at each row's true label, else 0. The gradient of a score is how often it is
        expected to count less how often it truly does. Lafferty et al. 2001, "Conditional random
        fields", section 3; Sutton and McCallum 2012, arXiv:1011.4088, (5.5).
        """
        xp, n = self.xp, int(sizes[:1].sum())
        log_sum, P, pairs = self.crf_marginals(X, T, start, end, sizes)
        true_pairs = xp.matmul(self.previous_rows(Y, (sizes, False)).T, Y)
        still = np.repeat(np.append(sizes, 0)[1:], sizes)  # how many sequences go on after a row
        ending = xp.asarray(np.flatnonzero(positions(sizes) >= still))
        firsts, lasts = Y[:n].sum(axis=0), Y[ending].sum(axis=0)
        ends = start * firsts + end * lasts
        true = sum(each.sum(dtype="float64") for each in (X * Y, T * true_pairs, ends))
        d_ends = P[:n].sum(axis=0) - firsts, P[ending].sum(axis=0) - lasts
        return (log_sum.sum() - true).astype(X.dtype), (P - Y, pairs - true_pairs, *d_ends)

    def crf_marginals(
        self, X: Floats2d, T: Floats2d, start: Floats1d, end: Floats1d, sizes: Ints1d
    ) -> tuple[Floats1d, Floats2d, Floats2d]:
        """The log of each sequence's sum over all ways, in float64; P (n, k); pairs (k, k).

        P are the probabilities of each row's labels; pairs[i, j] is how often j is expected after
        i in all. The sums go backwards, as in Sutton and McCallum 2012, (4.9); then, forwards, a
        label's probability is that of each label before it times that of the step to it. Sums that
        grow with the length would lose the digits of what labels differ in: the largest of each
        step is taken out, and each row of P divided by its sum.
        """
        xp, n = self.xp, int(sizes[:1].sum())
        rest: Any = xp.empty_like(X)  # log of the sum over all ways to go on after each label
        rest[...] = end  # true of last rows, overwritten in all others
        whole: Any = xp.empty_like(X)  # the same before the largest is taken out
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
        """The labels (n,) of each sequence's best way; of equal labels the first.

        Viterbi 1967; Rabiner 1989, "A tutorial on hidden Markov models", (32) to (35).
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
    """log(sum(exp(X))) over the last axis."""
    most = X.max(axis=-1, keepdims=True)
    X = X - most
    total = xp.exp(X, out=X).sum(axis=-1)
    return xp.log(total) + most[..., 0]

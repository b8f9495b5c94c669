"""Scaled dot-product attention within a sequence or between two sequences, and rotary positions."""

from collections import Counter
from typing import Any

import numpy as np

from combinet.ops.sequence import SequenceOps, offsets, positions
from combinet.types import Floats2d, Ints1d


class AttentionOps(SequenceOps):
    """Part of `Ops`: scaled dot-product attention and rotary position embeddings.

    Sequences with equal lengths are computed together, so neither padding nor a mask is needed. A
    head of width d owns d consecutive columns.
    """

    def attention(
        self, Q: Floats2d, K: Floats2d, V: Floats2d, lengths: Any, heads: int, causal: bool = False
    ) -> tuple[Floats2d, Any]:
        """Returns Y = softmax(Q @ K.T / sqrt(d)) @ V for each head of each sequence, and `saved`.

        Q and Y are (n, nO), K and V are (m, nO), and d = nO / heads is the width of a head.
        `lengths` is a pair: the lengths of the sequences of Q, and of K and V. If `causal`, row i
        of a sequence attends only to rows 0 to i. A row of a sequence whose K and V are empty is 0.

        Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1.
        """
        xp, n = self.xp, len(Q)
        rows, rows_kv, groups = self._by_lengths(*lengths)
        Q, K, V = self._ordered(Q, rows), self._ordered(K, rows_kv), self._ordered(V, rows_kv)
        Y, saved = self.empty(Q.shape, Q.dtype), []
        for stretch, stretch_kv, sequences in groups:
            q = _split(Q[stretch], sequences, heads)
            k, v = (_split(each[stretch_kv], sequences, heads) for each in (K, V))
            P = self.empty((*q.shape[:3], k.shape[2]), q.dtype)
            xp.matmul(q, k.swapaxes(2, 3), out=P)
            self.attention_weights(P, q.shape[3] ** -0.5, causal)
            xp.matmul(P, v, out=_split(Y[stretch], sequences, heads))
            saved.append((stretch, stretch_kv, q, k, v, P))
        Y = Y if rows is None else self.scatter_rows(Y, rows, n)
        return Y, (rows, rows_kv, saved)

    def _by_lengths(self, lengths: Ints1d, lengths_kv: Ints1d) -> tuple[Any, Any, list[Any]]:
        """Returns the rows of Q, and of K and V, sorted by sequence lengths, and the groups.

        Rows are indices, or None if all rows are already in order. A group contains the sequences
        with equal lengths: a slice of Q's sorted rows, a slice of the sorted rows of K and V, and
        the number of sequences. Sequences without rows in Q or in K and V are left out.
        """
        full = np.flatnonzero((lengths > 0) & (lengths_kv > 0))
        chosen = full[np.lexsort((lengths_kv[full], lengths[full]))]
        pairs = Counter(zip(lengths[chosen].tolist(), lengths_kv[chosen].tolist(), strict=True))
        groups, start, start_kv = [], 0, 0
        for (length, length_kv), n in pairs.items():
            stop, stop_kv = start + n * length, start_kv + n * length_kv
            groups.append((slice(start, stop), slice(start_kv, stop_kv), n))
            start, start_kv = stop, stop_kv
        return self._rows(lengths, chosen), self._rows(lengths_kv, chosen), groups

    def _rows(self, lengths: Ints1d, chosen: Ints1d) -> Any:
        """Returns the row numbers of the chosen sequences, or None for all rows in order."""
        if (np.diff(chosen) > 0).all() and lengths[chosen].sum() == lengths.sum():
            return None
        starts = np.repeat(offsets(lengths)[chosen], lengths[chosen])
        return self.xp.asarray(starts + positions(lengths[chosen]))

    def _ordered(self, X: Any, rows: Any) -> Any:
        return X if rows is None else self.take_rows(X, rows)

    def backprop_attention(
        self, dY: Floats2d, saved: Any, dQ: Floats2d, dK: Floats2d, dV: Floats2d
    ) -> None:
        """Writes the gradients of Q, K and V into dQ, dK and dV, which must contain zeros.

        dY and dQ are (n, nO), dK and dV are (m, nO). `saved` is the second result of `attention`.
        """
        xp, (rows, rows_kv, groups) = self.xp, saved
        d_out = self._ordered(dY, rows)
        d_q, d_k, d_v = (
            dX if order is None else self.empty((len(order), dX.shape[1]), dX.dtype)
            for dX, order in ((dQ, rows), (dK, rows_kv), (dV, rows_kv))
        )
        for stretch, stretch_kv, q, k, v, P in groups:
            sequences, heads = q.shape[:2]
            d_o = _split(d_out[stretch], sequences, heads)
            dS = self.empty(P.shape, P.dtype)
            xp.matmul(d_o, v.swapaxes(2, 3), out=dS)
            self.backprop_attention_weights(dS, P, q.shape[3] ** -0.5)
            xp.matmul(dS, k, out=_split(d_q[stretch], sequences, heads))
            xp.matmul(dS.swapaxes(2, 3), q, out=_split(d_k[stretch_kv], sequences, heads))
            xp.matmul(P.swapaxes(2, 3), d_o, out=_split(d_v[stretch_kv], sequences, heads))
        for dX, order, gradient in ((dQ, rows, d_q), (dK, rows_kv, d_k), (dV, rows_kv, d_v)):
            if order is not None:
                dX[order] = gradient

    def attention_weights(self, S: Any, scale: float, causal: bool) -> None:
        """Replaces S by softmax(scale * S), with the softmax over the last axis.

        S is (..., n, m), and `scale` is a float. If `causal`, S[..., i, j] becomes 0 for j > i.
        """
        S *= scale
        if causal:  # copied, not added: this also overwrites infinities and NaN
            later = np.triu(np.ones(S.shape[-2:], bool), 1)
            self.xp.copyto(S, -np.inf, where=self.xp.asarray(later))
        S -= S.max(axis=-1, keepdims=True)
        self.xp.exp(S, out=S)
        S /= S.sum(axis=-1, keepdims=True)

    def backprop_attention_weights(self, dP: Any, P: Any, scale: float) -> None:
        """Replaces dP by the gradient of S, scale * P * (dP - sum(P * dP)).

        The sum is over the last axis. P is the result of `attention_weights` with the same `scale`,
        and dP its gradient, of the same shape.
        """
        dP -= (dP * P).sum(axis=-1, keepdims=True)
        dP *= P
        dP *= scale

    def rotate(self, X: Floats2d, lengths: Ints1d, heads: int, *, back: bool = False) -> Floats2d:
        """Rotates each head of each row by angles proportional to its position p in its sequence.

        X and the result are (n, nO), with nO = heads * d. Columns i and i + d / 2 of a head are the
        coordinates of a point in the plane. The point is rotated by the angle p * 10000^(-2i/d). If
        `back`, it is rotated in the opposite direction; this is also the gradient. `lengths` gives
        the positions.

        Source: Su et al. 2021, arXiv:2104.09864, equation 34. There, the pairs are columns 2i and
        2i + 1.
        """
        n, half = len(X), X.shape[1] // heads // 2
        speed = 10000.0 ** -(np.arange(half) / half)
        angles = np.arange(lengths.max(initial=0))[:, None] * speed
        place = self.xp.asarray(positions(lengths))
        cos = self.xp.asarray(np.cos(angles), dtype=X.dtype)[place, None]
        sin = self.xp.asarray(np.sin(-angles if back else angles), dtype=X.dtype)[place, None]
        points: Any = X.reshape(n, heads, 2, half)
        a, b = points[:, :, 0], points[:, :, 1]
        return self.xp.stack([a * cos - b * sin, a * sin + b * cos], axis=2).reshape(X.shape)


def _split(X: Any, sequences: int, heads: int) -> Any:
    """Returns the rows of sequences of equal length as a view (sequences, heads, length, width)."""
    n, nO = X.shape
    return X.reshape(sequences, n // sequences, heads, nO // heads).transpose(0, 2, 1, 3)

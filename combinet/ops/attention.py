"""Attention among the rows of each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.sequence import starts
from combinet.types import Floats2d, Ints1d


class AttentionOps:
    """Mixed into `Ops`: scaled dot-product attention.

    Sequences of one length are done together, so that there is neither padding nor a mask for it.
    """

    xp: Any

    def attention(
        self, X: Floats2d, lengths: Ints1d, heads: int, causal: bool
    ) -> tuple[Floats2d, Any]:
        """Softmax(Q K' / sqrt(d)) V in each head and sequence: (n, 3 * nO) -> (n, nO).

        The columns of X are those of Q, of K and of V, each head by head. The second result is
        for the backward pass. Vaswani et al. 2017, arXiv:1706.03762, equation 1.
        """
        xp, n, nO = self.xp, X.shape[0], X.shape[1] // 3
        Y: Floats2d = xp.empty((n, nO), dtype=X.dtype)
        groups = []
        for rows, length in _by_length(lengths):
            rows = xp.asarray(rows)
            block = X[rows].reshape(-1, length, 3, heads, nO // heads)
            Q, K, V = (block[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
            P = xp.matmul(Q, K.swapaxes(2, 3))
            P *= (nO // heads) ** -0.5
            if causal:
                P += xp.asarray(np.triu(np.full((length, length), -np.inf), 1), dtype=X.dtype)
            P -= P.max(axis=3, keepdims=True)
            xp.exp(P, out=P)
            P /= P.sum(axis=3, keepdims=True)
            Y[rows] = xp.matmul(P, V).transpose(0, 2, 1, 3).reshape(-1, nO)
            groups.append((rows, Q, K, V, P))
        return Y, groups

    def backprop_attention(self, dY: Floats2d, groups: Any) -> Floats2d:
        """The gradient of X."""
        xp, (n, nO) = self.xp, dY.shape
        dX: Floats2d = xp.empty((n, 3 * nO), dtype=dY.dtype)
        for rows, Q, K, V, P in groups:
            sequences, heads, length, width = Q.shape
            d_out = dY[rows].reshape(sequences, length, heads, width).transpose(0, 2, 1, 3)
            dS = xp.matmul(d_out, V.swapaxes(2, 3))
            dS -= (dS * P).sum(axis=3, keepdims=True)
            dS *= P
            dS *= width**-0.5
            parts = (
                xp.matmul(dS, K),
                xp.matmul(dS.swapaxes(2, 3), Q),
                xp.matmul(P.swapaxes(2, 3), d_out),
            )
            block = xp.empty((sequences, length, 3, heads, width), dtype=dY.dtype)
            for part, gradient in enumerate(parts):
                block[:, :, part] = gradient.transpose(0, 2, 1, 3)
            dX[rows] = block.reshape(-1, 3 * nO)
        return dX


def _by_length(lengths: Ints1d) -> list[tuple[Ints1d, int]]:
    """The rows of all sequences of each length, sequence by sequence, with the length."""
    begin = starts(lengths)
    distinct = np.unique(lengths[lengths > 0]).tolist()
    return [
        ((begin[lengths == length][:, None] + np.arange(length)).reshape(-1), length)
        for length in distinct
    ]

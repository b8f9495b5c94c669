"""Attention over padded sequences, with a mask for the padding."""

from typing import Any

import numpy as np

import combinet as cb
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor
from combinet.interop.onnx.layout import Layout
from combinet.interop.onnx.sequence import waves


def _attention(
    Q: Tensor, K: Tensor, V: Tensor, q_layout: Layout, kv_layout: Layout, heads: int, causal: bool
) -> Tensor:
    """Softmax(Q K' / sqrt(d)) V in each head and sequence, as in `AttentionOps.attention`."""
    op, nO, d = Q.graph.op, Q.width, Q.width // heads

    def split(rows: Tensor, layout: Layout) -> Tensor:  # (sequences, heads, longest, d)
        return layout.pad(rows).reshape(0, 0, heads, d).transpose(1, 2, 0, 3)

    q, k, v = split(Q, q_layout), split(K, kv_layout), split(V, kv_layout)
    scores = q @ k.transpose(0, 1, 3, 2) * d**-0.5
    real = kv_layout.mask.transpose(1, 0).unsqueeze(1, 2)
    if causal:
        real = real & (q_layout.steps.unsqueeze(1) >= kv_layout.steps)
    # Not -inf, which would give NaN for a row that has nothing to attend to.
    lowest = float(np.finfo(Q.dtype).min)
    shares = op("Softmax", op("Where", real, scores, lowest), axis=-1)
    return q_layout.unpad((shares @ v).transpose(2, 0, 1, 3).reshape(0, 0, nO))


@converts(cb.self_attention(1))
def _self_attention(model: Any, X: Tensor, to: Export) -> Tensor:
    heads, causal, rotary = (model.attrs[name] for name in ("heads", "causal", "rotary"))
    layout, nO = to.layout(to.lengths_of(X)), X.width // 3
    QK, V = X.slice(0, 2 * nO, axis=1), X.slice(2 * nO, 3 * nO, axis=1)
    if rotary:
        QK = _rotate(QK, layout, 2 * heads)
    Q, K = QK.slice(0, nO, axis=1), QK.slice(nO, 2 * nO, axis=1)
    return _attention(Q, K, V, layout, layout, heads, causal)


def _rotate(X: Tensor, layout: Layout, heads: int) -> Tensor:
    """Rotates each head of each row by angles that grow with position: `AttentionOps.rotate`."""
    half = X.width // heads // 2
    speeds = 10000.0 ** -(np.arange(half) / half)
    cos, sin = (
        waves(layout.positions, speeds, cosine, X.dtype).unsqueeze(1) for cosine in (True, False)
    )
    points = X.reshape(0, heads, 2, half)
    a, b = points.take(0, axis=2), points.take(1, axis=2)
    turned = [(a * cos - b * sin).unsqueeze(2), (a * sin + b * cos).unsqueeze(2)]
    return X.graph.op("Concat", *turned, axis=2).reshape(0, X.width)


@converts(cb.cross_attention(1))
def _cross_attention(model: Any, X: tuple[Sequences, Sequences], to: Export) -> Sequences:
    (Q, lengths), (KV, lengths_kv) = X
    q_layout, kv_layout, nO = to.layout(lengths), to.layout(lengths_kv), Q.width
    K, V = KV.slice(0, nO, axis=1), KV.slice(nO, 2 * nO, axis=1)
    return Sequences(_attention(Q, K, V, q_layout, kv_layout, model.attrs["heads"], False), lengths)

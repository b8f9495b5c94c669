"""Weights for the rows of each sequence, from one learned vector."""

from __future__ import annotations

from typing import Any

from combinet.data import Ragged
from combinet.initializers import glorot_uniform
from combinet.model import Model
from combinet.node import Param
from combinet.run import Run
from combinet.types import Initializer
from combinet.widths import square_widths


def ParametricAttention(
    nI: int | None = None, *, init_Q: Initializer = glorot_uniform
) -> Model[Ragged, Ragged]:
    """Each row times its share of attention: Y[i] = a[i] * X[i], a = softmax(X @ Q) by sequence.

    X Ragged of (total, nI) -> Y the same. Params: Q (nI,). Followed by `reduce_sum` it is the
    weighted mean of each sequence. Yang et al. 2016, "Hierarchical Attention Networks",
    equations 6 and 7, with the rows themselves for keys.

    Example:
        >>> import numpy as np
        >>> model = ParametricAttention(1).initialize()
        >>> model.set_param("Q", [0.0])
        >>> model.predict(Ragged(np.ones((3, 1), dtype="float32"), [1, 2])).data.tolist()
        [[1.0], [0.5], [0.5]]
    """
    return Model(
        "parametric_attention",
        _parametric_attention,
        dims={"nI": nI},
        params={"Q": Param(("nI",), init_Q)},
        takes="ragged2d",
        widths=square_widths,
    )


def _parametric_attention(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    (Q,) = run.params(model, "Q")
    rows, lengths = X.data, X.lengths
    attention = run.ops.softmax_sequences(run.ops.xp.matmul(rows, Q), lengths)

    def backprop(dY: Ragged) -> Ragged:
        d_attention = (dY.data * rows).sum(axis=1)
        d_scores = run.ops.backprop_softmax_sequences(d_attention, attention, lengths)
        run.inc_grad(model, Q=run.ops.xp.matmul(d_scores, rows))
        return Ragged(dY.data * attention[:, None] + d_scores[:, None] * Q, lengths)

    return Ragged(rows * attention[:, None], lengths), backprop

"""Attention weights for the rows of each sequence, from one trained vector."""

from typing import Any

from combinet.batches.ragged import Ragged
from combinet.combinators.compose import add_batches, noop
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.core.shape_inference import ShapeInference, Width, Widths
from combinet.core.shape_rules import per_column
from combinet.errors import DimensionError, describe
from combinet.initializers import glorot_uniform
from combinet.types import Floats2d, Initializer


def ParametricAttention(
    nI: int | None = None,
    *,
    key_transform: Model[Floats2d, Floats2d] | None = None,
    init_Q: Initializer = glorot_uniform,
) -> Model[Ragged, Ragged]:
    """Scales each row by its attention weight: Y[i] = a[i] * X[i], a = softmax(K @ Q) by sequence.

    The input and the output are Ragged with floats (total, nI). The weights a of a sequence add up
    to 1, so `ParametricAttention() >> reduce_sum()` computes a weighted mean.

    Args:
        nI: Number of columns. Inferred from the neighboring layers or from a sample if None.
        key_transform: Layer for rows that computes the keys K (total, nK) from X. Its windows do
            not cross the ends of sequences. If None, the rows of X are the keys. nK is its output
            width, or nI if that is unknown.
        init_Q: Initializer of the query vector Q (nK,). `glorot_uniform` by default.

    Raises:
        DimensionError: If X does not have nI columns, or if the keys are not an array (total, nK).

    Example:
        >>> import numpy as np
        >>> model = ParametricAttention(1).initialize()
        >>> model.set_param("Q", [0.0])
        >>> model.predict(Ragged(np.ones((3, 1), dtype="float32"), [1, 2])).data.tolist()
        [[1.0], [0.5], [0.5]]

    Source: Yang et al. 2016, "Hierarchical Attention Networks", equations 5 to 7, whose keys are
    tanh(W X + b).
    """
    return Model(
        "parametric_attention",
        _parametric_attention,
        layers=[noop() if key_transform is None else key_transform],
        dims={"nI": nI, "nK": None},
        params={"Q": Param(("nK",), init_Q)},
        accepts="ragged2d",
        widths=_widths,
    )


@innermost
def _parametric_attention(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    rows, lengths = X.data, X.lengths
    K, callback = run.with_lengths(lengths)(model.layers[0], rows)
    (Q,) = run.params(model, "Q")
    if getattr(K, "shape", None) != (rows.shape[0], *Q.shape):
        raise DimensionError(
            f"{model.name} expected keys of shape {(rows.shape[0], *Q.shape)}, got {describe(K)}"
        )
    attention = run.ops.softmax_sequences(run.ops.xp.matmul(K, Q), lengths)

    def backprop(dY: Ragged) -> Ragged:
        d_attention = (dY.data * rows).sum(axis=1)
        d_scores = run.ops.backprop_softmax_sequences(d_attention, attention, lengths)
        run.inc_grad(model, Q=run.ops.xp.matmul(d_scores, K))
        dX = callback(d_scores[:, None] * Q)
        return Ragged(add_batches(dY.data * attention[:, None], dX), lengths)

    return Ragged(rows * attention[:, None], lengths), backprop


def _widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    width, _ = per_column(model, nI, nO, infer)
    nI, keys = infer(model.layers[0], width, None)
    width = infer.dim(model, "nI", nI)
    if keys is None:
        keys = infer(model.layers[0], width, width)[1] or width
    infer.dim(model, "nK", keys)
    return width, width

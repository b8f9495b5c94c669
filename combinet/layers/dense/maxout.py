"""Maxout units."""

from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.errors import DimensionError
from combinet.initializers import glorot_uniform, zeros
from combinet.layers.dense.activation import add_norm_dropout
from combinet.layers.dense.linear import affine, affine_params
from combinet.types import Array, Floats1d, Floats2d, Initializer


def Maxout(
    nO: int | None = None,
    nI: int | None = None,
    *,
    pieces: int = 3,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    bias: bool = True,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Largest of several affine maps: Y[:, o] = max over p of X @ W[o, p] + b[o, p].

    The input is an array of floats (n, nI), the output an array (n, nO).

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        pieces: Number nP of affine maps for each output, from 1 to 256.
        init_W: Initializer of the weights W (nO, nP, nI). `glorot_uniform` by default.
        init_b: Initializer of the biases b (nO, nP). `zeros` by default.
        bias: Whether to add the biases b.
        dropout: Rate of a `Dropout` layer at the end, from 0 to below 1. None adds no such layer.
        normalize: Whether to add a `LayerNorm` layer after the maximum.

    Raises:
        InputError: If the dropout rate is not from 0 to below 1.
        DimensionError: If X does not have nI columns, or if there are more than 256 pieces.

    Example:
        >>> import numpy as np
        >>> model = Maxout(1, 1, pieces=2).initialize()
        >>> model.set_param("W", [[[1.0], [-1.0]]])
        >>> model.predict(np.array([[-3.0], [2.0]], dtype="float32"))
        array([[3.],
               [2.]], dtype=float32)

    Source: Goodfellow et al. 2013, arXiv:1302.4389, section 3.
    """
    model: Model[Any, Any] = Model(
        "maxout",
        _maxout,
        dims={"nI": nI, "nO": nO, "nP": pieces},
        params=affine_params(init_W, init_b, bias, ("nO", "nP", "nI")),
        accepts="floats2d",
    )
    if (model.dims["nP"] or 0) > 256:  # a pass stores the index of the largest piece in one byte
        raise DimensionError(f"maxout expected at most 256 pieces, got {pieces}")
    return add_norm_dropout(model, normalize, dropout)


def _maxout(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    nP: Any = model.dims["nP"]

    def fused(X: Floats2d, W: Floats2d, b: Floats1d | None) -> tuple[Floats2d, Array]:
        return run.ops.affine_maxout(X, W, b, nP)

    (Y, which), backprop_affine = affine(model, X, run, fused)

    def backprop(dY: Floats2d) -> Any:
        dZ: Any = run.ops.backprop_maxout(dY, which, nP)  # (n, nP, nO): the pieces form one map
        return backprop_affine(dZ.reshape(-1, nP * dY.shape[1]))

    return Y, backprop

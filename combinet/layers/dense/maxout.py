"""Maxout units."""

from __future__ import annotations

from functools import partial
from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.errors import DimensionError
from combinet.initializers import glorot_uniform, zeros
from combinet.layers.dense.activation import add_norm_dropout
from combinet.layers.dense.linear import affine, affine_params
from combinet.types import Floats2d, Initializer


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
    """The largest of several affine maps, for each output: Y[o] = max over p of W[o, p] . X + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nP, nI) and, if `bias`, b (nO, nP), where nP is
    `pieces`. Goodfellow et al. 2013, arXiv:1302.4389, section 3. With `normalize` a LayerNorm
    follows, with `dropout`, a rate from 0 to below 1, a Dropout. Raises DimensionError if X is not
    (n, nI), and for more than 256 pieces.

    Example:
        >>> import numpy as np
        >>> model = Maxout(1, 1, pieces=2).initialize()
        >>> model.set_param("W", [[[1.0], [-1.0]]])
        >>> model.predict(np.array([[-3.0], [2.0]], dtype="float32"))
        array([[3.],
               [2.]], dtype=float32)
    """
    model: Model[Any, Any] = Model(
        "maxout",
        _maxout,
        dims={"nI": nI, "nO": nO, "nP": pieces},
        params=affine_params(init_W, init_b, bias, ("nO", "nP", "nI")),
        accepts="floats2d",
    )
    if (model.dims["nP"] or 0) > 256:  # which was the largest is noted in a byte
        raise DimensionError(f"maxout takes 256 pieces at most, not {pieces}")
    return add_norm_dropout(model, normalize, dropout)


def _maxout(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    nP: Any = model.dims["nP"]
    (Y, which), backprop_affine = affine(model, X, run, partial(run.ops.affine_maxout, nP=nP))

    def backprop(dY: Floats2d) -> Any:
        dZ: Any = run.ops.backprop_maxout(dY, which, nP)  # all pieces are one map, pieces first
        return backprop_affine(dZ.reshape(-1, nP * dY.shape[1]))

    return Y, backprop

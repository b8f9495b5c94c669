"""The affine map."""

from __future__ import annotations

from typing import Any

from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.initializers import glorot_uniform, zeros
from combinet.types import Floats2d, Initializer


def Linear(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Affine map of each row: Y = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> model = Linear(2, 3).initialize()
        >>> model.predict(np.zeros((5, 3), dtype="float32")).shape
        (5, 2)
    """
    return Model(
        "linear",
        affine,
        dims={"nI": nI, "nO": nO},
        params=affine_params(init_W, init_b, bias),
        accepts="floats2d",
    )


def affine_params(
    init_W: Initializer,
    init_b: Initializer,
    bias: bool,
    W_axes: tuple[str, ...] = ("nO", "nI"),
    b_axes: tuple[str, ...] = ("nO",),
) -> dict[str, Param]:
    """The declaration of W and, if `bias`, b, for all layers that begin with an affine map."""
    params = {"W": Param(W_axes, init_W), "b": Param(b_axes, init_b)}
    return params if bias else {"W": params["W"]}


def affine(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    """The affine map by a layer's W and b, if it has one, and the backward pass."""
    W, *b = run.params(model, *model.param_names)
    wants_dX, wants_db = run.wants_dX, bool(b)

    def backprop(dY: Floats2d) -> Floats2d | None:
        dX, dW, db = run.ops.backprop_affine(dY, X, W, wants_dX, wants_db)
        run.inc_grad(model, W=dW, b=db)
        return dX

    return run.ops.affine(X, W, *b), backprop

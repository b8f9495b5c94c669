"""The affine map."""

from __future__ import annotations

from typing import Any

from combinet.core.model import Model
from combinet.core.node import Forward, Param
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
    return affine_layer("linear", affine, nO, nI, affine_params(init_W, init_b, bias))


def affine_layer(
    name: str, forward: Forward, nO: int | None, nI: int | None, params: Any, **more: Any
) -> Model[Any, Any]:
    """A layer that begins with an affine map of rows; `more` is for `Model`."""
    dims = {"nI": nI, "nO": nO}
    return Model(name, forward, dims=dims, params=params, accepts="floats2d", **more)


def affine_params(
    init_W: Initializer, init_b: Initializer, bias: bool, axes: tuple[str, ...] = ("nO", "nI")
) -> dict[str, Param]:
    """The declaration of W and, if `bias`, b, for all layers that begin with an affine map.

    `axes` are those of W: first those of the output, which b has as well, then those of the input.
    """
    params = {"W": Param(axes, init_W), "b": Param(axes[: axes.index("nI")], init_b)}
    return params if bias else {"W": params["W"]}


def affine(
    model: Any, X: Floats2d, run: Run, fused: Any = None, weights: tuple[Any, ...] = ()
) -> Any:
    """The affine map by a layer's W and b, if it has one, and the backward pass.

    Further axes of outputs or of inputs are taken as one: W (nO, nP, nI) maps to nP * nO columns.
    `fused(X, W, b)` computes the map and what follows in one step; the backward pass takes the
    gradient of the map alone. `weights` are W and b where the layer has read them already.
    """
    declared: Any = weights or run.params(model, *model.param_names)
    W, b = declared if len(declared) > 1 else (*declared, None)
    more_axes, wants_dX, wants_db = W.ndim > 2, run.wants_dX, b is not None
    if more_axes:  # in column-major memory, so these are views
        W, b = W.T.reshape(X.shape[1], -1).T, None if b is None else b.T.reshape(-1)

    def backprop(dZ: Floats2d) -> Floats2d | None:
        dX, dW, db = run.ops.backprop_affine(dZ, X, W, wants_dX, wants_db)
        if more_axes:
            dW = dW.T.reshape(declared[0].T.shape).T
            db = db.reshape(declared[1].T.shape).T if wants_db else None
        run.inc_grad(model, W=dW, b=db)
        return dX

    return (fused or run.ops.affine)(X, W, b), backprop

"""The affine map, which many layers begin with."""

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

    The input is an array of floats (n, nI), the output an array (n, nO).

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `glorot_uniform` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.

    Raises:
        DimensionError: If X does not have nI columns.

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
    """Returns a layer that begins with an affine map of rows. `Model` receives `more`."""
    dims = {"nI": nI, "nO": nO}
    return Model(name, forward, dims=dims, params=params, accepts="floats2d", **more)


def affine_params(
    init_W: Initializer, init_b: Initializer, bias: bool, axes: tuple[str, ...] = ("nO", "nI")
) -> dict[str, Param]:
    """Declares W and, if `bias` is set, b for a layer that begins with an affine map.

    `axes` are the axes of W: the output axes, which b has too, then the input axes.
    """
    params = {"W": Param(axes, init_W), "b": Param(axes[: axes.index("nI")], init_b)}
    return params if bias else {"W": params["W"]}


def affine(
    model: Any, X: Floats2d, run: Run, fused: Any = None, weights: tuple[Any, ...] = ()
) -> Any:
    """Computes the affine map of a layer with W and optional b. Returns Y and its backprop.

    W and b may have additional axes, which are flattened: W (nO, nP, nI) maps to nP * nO columns.
    `fused(X, W, b)` computes the affine map and an activation in one step; the backprop still takes
    the gradient of the affine map. `weights` are W and b if the layer has read them already.
    """
    declared: Any = weights or run.params(model)
    W, b = declared if len(declared) == 2 else (declared[0], None)
    more_axes, wants_dX, wants_db = W.ndim > 2, run.wants_dX, b is not None
    if more_axes:  # the memory is column-major, so these are views, not copies
        W, b = W.T.reshape(X.shape[1], -1).T, None if b is None else b.T.reshape(-1)

    def backprop(dZ: Floats2d) -> Floats2d | None:
        dX, dW, db = run.ops.backprop_affine(dZ, X, W, wants_dX, wants_db)
        if more_axes:
            dW = dW.T.reshape(declared[0].T.shape).T
            db = db.reshape(declared[1].T.shape).T if wants_db else None
        run.inc_grad(model, W=dW, b=db)
        return dX

    return (fused or run.ops.affine)(X, W, b), backprop

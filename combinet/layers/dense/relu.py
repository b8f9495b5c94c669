"""The rectifier, alone and after an affine map."""

from __future__ import annotations

from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.initializers import he_normal, zeros
from combinet.layers.dense.activation import activation, add_norm_dropout
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def relu() -> Model[Floats, Floats]:
    """The rectifier: Y = max(X, 0), for floats of any shape.

    Example:
        >>> import numpy as np
        >>> relu().predict(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    return activation("relu")


def Relu(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    bias: bool = True,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and rectifier: Y = max(X @ W.T + b, 0).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Relu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    model: Model[Any, Any] = Model(
        "relu",
        _relu,
        dims={"nI": nI, "nO": nO},
        params=affine_params(init_W, init_b, bias),
        accepts="floats2d",
    )
    return add_norm_dropout(model, normalize, dropout)


def _relu(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    W, *b = run.params(model, *model.param_names)
    wants_dX, wants_db = run.wants_dX, bool(b)
    Y = run.ops.affine_relu(X, W, *b)

    def backprop(dY: Floats2d) -> Floats2d | None:
        dZ: Any = run.ops.backprop_relu(dY, Y)
        dX, dW, db = run.ops.backprop_affine(dZ, X, W, wants_dX, wants_db)
        run.inc_grad(model, W=dW, b=db)
        return dX

    return Y, backprop

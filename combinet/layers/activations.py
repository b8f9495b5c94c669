"""Activations: each a line in a table, a weightless layer, and a layer with an affine map first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from combinet.initializers import glorot_uniform, he_normal, zeros
from combinet.layers.linear import affine_params
from combinet.model import Model
from combinet.ops import Ops
from combinet.run import Run
from combinet.types import Floats, Floats2d, Initializer
from combinet.widths import same_widths


class Activation(NamedTuple):
    """`forward(ops, X) -> (Y, kept)` and `backward(ops, dY, kept) -> dX`."""

    forward: Callable[[Ops, Any], tuple[Any, Any]]
    backward: Callable[[Ops, Any, Any], Any]


def _relu(ops: Ops, X: Floats) -> tuple[Floats, Floats]:
    Y = ops.relu(X)
    return Y, Y


def _gelu(ops: Ops, X: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
    Y, P = ops.gelu(X)
    return Y, (X, P)


def _softmax(ops: Ops, X: Floats) -> tuple[Floats, Floats]:
    Y = ops.softmax(X)
    return Y, Y


ACTIVATIONS = {
    "relu": Activation(_relu, lambda ops, dY, Y: ops.backprop_relu(dY, Y)),
    "gelu": Activation(_gelu, lambda ops, dY, kept: ops.backprop_gelu(dY, *kept)),
    "softmax": Activation(_softmax, lambda ops, dY, Y: ops.backprop_softmax(dY, Y)),
}


def relu() -> Model[Floats, Floats]:
    """The rectifier: Y = max(X, 0), for floats of any shape.

    Example:
        >>> import numpy as np
        >>> relu().predict(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    return _activation("relu")


def gelu() -> Model[Floats, Floats]:
    """The Gaussian error linear unit: Y = X * P(X), P the normal distribution function.

    For floats of any shape, without approximation. Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Example:
        >>> import numpy as np
        >>> gelu().predict(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])
    """
    return _activation("gelu")


def Relu(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
) -> Model[Floats2d, Floats2d]:
    """Affine map and rectifier: Y = max(X @ W.T + b, 0).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Relu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return _activated("relu", nO, nI, init_W, init_b)


def Gelu(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `gelu`: Y = Z * P(Z), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Gelu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return _activated("gelu", nO, nI, init_W, init_b)


def Softmax(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
) -> Model[Floats2d, Floats2d]:
    """Affine map and softmax: Y = exp(Z) / sum(exp(Z)) in each row, with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO), rows of probabilities. Params: W (nO, nI), b (nO,). The backward pass
    takes the gradient of the probabilities, as `CategoricalCrossentropy` gives it, not Y - T.
    Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Softmax(4, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    return _activated("softmax", nO, nI, init_W, init_b)


def _activation(name: str) -> Model[Any, Any]:
    return Model(name, _apply, attrs={"activation": name}, takes="floats", widths=same_widths)


def _apply(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    activation = ACTIVATIONS[model.attrs["activation"]]
    Y, kept = activation.forward(run.ops, X)
    return Y, lambda dY: activation.backward(run.ops, dY, kept)


def _activated(
    name: str, nO: int | None, nI: int | None, init_W: Initializer, init_b: Initializer
) -> Model[Any, Any]:
    return Model(
        name,
        _affine_apply,
        dims={"nI": nI, "nO": nO},
        params=affine_params(init_W, init_b),
        attrs={"activation": name},
        takes="floats2d",
    )


def _affine_apply(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    W, b = run.params(model, "W", "b")
    activation = ACTIVATIONS[model.attrs["activation"]]
    Y, kept = activation.forward(run.ops, run.ops.affine(X, W, b))

    def backprop(dY: Floats2d) -> Floats2d:
        dX, dW, db = run.ops.backprop_affine(activation.backward(run.ops, dY, kept), X, W)
        run.inc_grad(model, W=dW, b=db)
        return dX

    return Y, backprop

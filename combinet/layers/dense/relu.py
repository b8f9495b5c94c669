"""The rectifier, alone and after an affine map."""

from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.initializers import he_normal
from combinet.layers.dense.activation import activation, affine_activation
from combinet.layers.dense.linear import affine
from combinet.types import Floats, Floats2d


def relu() -> Model[Floats, Floats]:
    """Applies the rectifier: Y = max(X, 0).

    The input is an array of floats of any shape.

    Example:
        >>> import numpy as np
        >>> relu().predict(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    return activation("relu")


def _relu(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    Y, backprop_affine = affine(model, X, run, run.ops.affine_relu)
    return Y, lambda dY: backprop_affine(run.ops.backprop_relu(dY, Y))


@affine_activation("relu", he_normal, fused=_relu)
def Relu() -> None:
    """Affine map followed by the rectifier: Y = max(X @ W.T + b, 0).

    The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> Relu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

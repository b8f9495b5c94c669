"""The logistic function, alone and after an affine map."""

from __future__ import annotations

from combinet.core.model import Model
from combinet.initializers import zeros
from combinet.layers.dense.activation import activation, dense_activation
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def sigmoid_activation() -> Model[Floats, Floats]:
    """The logistic function: Y = 1 / (1 + exp(-X)), for floats of any shape.

    The derivative comes from X, so that it does not vanish where Y rounds to 1.

    Example:
        >>> import numpy as np
        >>> sigmoid_activation().predict(np.array([0.0, 1.0])).round(4)
        array([0.5   , 0.7311])
    """
    return activation("sigmoid_activation")


def Logistic() -> Model[Floats, Floats]:
    """`sigmoid_activation`, under the older of the two names that Thinc has for it.

    Example:
        >>> import numpy as np
        >>> Logistic().predict(np.array([0.0, 1.0])).round(4)
        array([0.5   , 0.7311])
    """
    return sigmoid_activation()


def Sigmoid(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Affine map and logistic function: Y = 1 / (1 + exp(-Z)), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).
    An output of independent probabilities.

    Example:
        >>> import numpy as np
        >>> Sigmoid(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5, 0.5]], dtype=float32)
    """
    return dense_activation("sigmoid", nO, nI, affine_params(init_W, init_b, bias))

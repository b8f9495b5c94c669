"""Dish, alone and after an affine map."""

from combinet.core.model import Model
from combinet.initializers import he_normal
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def dish() -> Model[Floats, Floats]:
    """Applies a smooth rectifier without an exponential: Y = X / 2 * (1 + X / sqrt(1 + X * X)).

    The input is an array of floats of any shape. The curve resembles `swish` and `gelu`.

    Example:
        >>> import numpy as np
        >>> dish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.1464,  0.8536])
    """
    return activation("dish")


@affine_activation("dish", he_normal)
def Dish() -> None:
    """Affine map followed by `dish`: Y = Z / 2 * (1 + Z / sqrt(1 + Z * Z)), with Z = X @ W.T + b.

    The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> Dish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

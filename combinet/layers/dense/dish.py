"""Dish, alone and after an affine map."""

from __future__ import annotations

from combinet.core.model import Model
from combinet.initializers import he_normal
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def dish() -> Model[Floats, Floats]:
    """Y = X / 2 * (1 + X / sqrt(1 + X * X)), for floats of any shape.

    Shaped like swish and gelu, without an exponential.

    Example:
        >>> import numpy as np
        >>> dish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.1464,  0.8536])
    """
    return activation("dish")


@affine_activation("dish", he_normal)
def Dish() -> None:
    """Affine map and `dish`: Y = Z / 2 * (1 + Z / sqrt(1 + Z * Z)), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Dish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

"""The Gaussian error linear unit, alone and after an affine map."""

from __future__ import annotations

from combinet.core.model import Model
from combinet.initializers import glorot_uniform
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def gelu() -> Model[Floats, Floats]:
    """The Gaussian error linear unit: Y = X * P(X), P the normal distribution function.

    For floats of any shape, without approximation. Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Example:
        >>> import numpy as np
        >>> gelu().predict(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])
    """
    return activation("gelu")


@affine_activation("gelu", glorot_uniform)
def Gelu() -> None:
    """Affine map and `gelu`: Y = Z * P(Z), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Gelu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

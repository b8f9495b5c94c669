"""The Gaussian error linear unit, alone and after an affine map."""

from combinet.core.model import Model
from combinet.initializers import glorot_uniform
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def gelu() -> Model[Floats, Floats]:
    """Applies the Gaussian error linear unit: Y = X * P(X), without an approximation.

    P is the distribution function of the standard normal distribution. The input is an array of
    floats of any shape.

    Example:
        >>> import numpy as np
        >>> gelu().predict(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    return activation("gelu")


@affine_activation("gelu", glorot_uniform)
def Gelu() -> None:
    """Affine map followed by `gelu`: Y = Z * P(Z), with Z = X @ W.T + b.

    P is the distribution function of the standard normal distribution. The input is an array of
    floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> Gelu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

"""Mish, alone and after an affine map."""

from combinet.core.model import Model
from combinet.initializers import glorot_uniform
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def mish() -> Model[Floats, Floats]:
    """Applies mish: Y = X * tanh(log(1 + exp(X))).

    The input is an array of floats of any shape.

    Example:
        >>> import numpy as np
        >>> mish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.3034,  0.8651])

    Source: Misra 2019, arXiv:1908.08681, equation 1.
    """
    return activation("mish")


@affine_activation("mish", glorot_uniform)
def Mish() -> None:
    """Affine map followed by `mish`: Y = Z * tanh(log(1 + exp(Z))), with Z = X @ W.T + b.

    The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> Mish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)

    Source: Misra 2019, arXiv:1908.08681, equation 1.
    """

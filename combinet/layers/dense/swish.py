"""Swish, also known as SiLU, alone and after an affine map."""

from combinet.core.model import Model
from combinet.initializers import he_normal
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def swish() -> Model[Floats, Floats]:
    """Applies swish, also known as SiLU: Y = X * sigmoid(X).

    The input is an array of floats of any shape.

    Example:
        >>> import numpy as np
        >>> swish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.2689,  0.7311])

    Source: Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.
    """
    return activation("swish")


@affine_activation("swish", he_normal)
def Swish() -> None:
    """Affine map followed by `swish`: Y = Z * sigmoid(Z), with Z = X @ W.T + b.

    The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> Swish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)

    Source: Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.
    """

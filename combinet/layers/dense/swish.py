"""Swish, also known as SiLU, alone and after an affine map."""

from __future__ import annotations

from combinet.core.model import Model
from combinet.initializers import he_normal
from combinet.layers.dense.activation import activation, affine_activation
from combinet.types import Floats


def swish() -> Model[Floats, Floats]:
    """Y = X * sigmoid(X), also known as SiLU, for floats of any shape.

    Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.

    Example:
        >>> import numpy as np
        >>> swish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.2689,  0.7311])
    """
    return activation("swish")


@affine_activation("swish", he_normal)
def Swish() -> None:
    """Affine map and `swish`: Y = Z * sigmoid(Z), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).
    Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.

    Example:
        >>> import numpy as np
        >>> Swish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

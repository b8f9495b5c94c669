"""Exponential linear units, alone and after an affine map."""

from __future__ import annotations

from combinet.core.model import Model
from combinet.initializers import he_normal, lecun_normal, zeros
from combinet.layers.dense.activation import activation, affine_activation, dense_activation
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def _settings(alpha: float) -> dict[str, float]:
    return {"alpha": float(alpha), "scale": 1.0}


def elu(alpha: float = 1.0) -> Model[Floats, Floats]:
    """The exponential linear unit: X above 0, alpha * (exp(X) - 1) below.

    For floats of any shape. Clevert et al. 2016, arXiv:1511.07289, equation 15.

    Example:
        >>> import numpy as np
        >>> elu().predict(np.array([-1.0, 2.0])).round(4)
        array([-0.6321,  2.    ])
    """
    return activation("elu", _settings(alpha))


def selu() -> Model[Floats, Floats]:
    """The scaled exponential linear unit: 1.0507 times an `elu` with alpha = 1.6733.

    For floats of any shape. Klambauer et al. 2017, arXiv:1706.02515, equation 2: with weights of
    variance 1 / nI, mean 0 and variance 1 of the input come back in the output.

    Example:
        >>> import numpy as np
        >>> selu().predict(np.array([-1.0, 1.0])).round(4)
        array([-1.1113,  1.0507])
    """
    return activation("selu")


def ELU(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    bias: bool = True,
    dropout: float | None = None,
    normalize: bool = False,
    alpha: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `elu`: Y = Z above 0, alpha * (exp(Z) - 1) below, with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).
    Clevert et al. 2016, arXiv:1511.07289, equation 15.

    Example:
        >>> import numpy as np
        >>> ELU(2, 3, alpha=0.5).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    params = affine_params(init_W, init_b, bias)
    return dense_activation("elu", nO, nI, params, normalize, dropout, _settings(alpha))


@affine_activation("selu", lecun_normal)
def SELU() -> None:
    """Affine map and `selu`: Y = 1.0507 * Z above 0, 1.7581 * (exp(Z) - 1) below.

    Z = X @ W.T + b. X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises
    DimensionError if X is not (n, nI). Klambauer et al. 2017, arXiv:1706.02515, equation 2: the
    output's variance is the input's, with weights of variance 1 / nI, as `lecun_normal` gives.

    Example:
        >>> import numpy as np
        >>> SELU(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

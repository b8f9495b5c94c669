"""Exponential linear units, alone and after an affine map."""

from combinet.core.model import Model
from combinet.initializers import he_normal, lecun_normal, zeros
from combinet.layers.dense.activation import activation, affine_activation, dense_activation
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def _settings(alpha: float) -> dict[str, float]:
    return {"alpha": float(alpha), "scale": 1.0}


def elu(alpha: float = 1.0) -> Model[Floats, Floats]:
    """Applies the exponential linear unit: Y = X above 0, alpha * (exp(X) - 1) below.

    The input is an array of floats of any shape.

    Args:
        alpha: Factor of the negative part. The lowest value of Y is -alpha.

    Example:
        >>> import numpy as np
        >>> elu().predict(np.array([-1.0, 2.0])).round(4)
        array([-0.6321,  2.    ])

    Source: Clevert et al. 2016, arXiv:1511.07289, equation 15.
    """
    return activation("elu", _settings(alpha))


def selu() -> Model[Floats, Floats]:
    """Applies the scaled exponential linear unit: 1.0507 times an `elu` with alpha = 1.6733.

    The input is an array of floats of any shape. After an affine map with weights of variance 1 /
    nI, an input of mean 0 and variance 1 has an output of mean 0 and variance 1.

    Example:
        >>> import numpy as np
        >>> selu().predict(np.array([-1.0, 1.0])).round(4)
        array([-1.1113,  1.0507])

    Source: Klambauer et al. 2017, arXiv:1706.02515, equation 2.
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
    """Affine map followed by `elu`: Y = Z above 0, alpha * (exp(Z) - 1) below.

    Z is X @ W.T + b. The input is an array of floats (n, nI), the output an array (n, nO).

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `he_normal` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.
        dropout: Rate of a `Dropout` layer at the end, from 0 to below 1. None adds no such layer.
        normalize: Whether to add a `LayerNorm` layer after the activation.
        alpha: Factor of the negative part. The lowest value of Y is -alpha.

    Raises:
        InputError: If the dropout rate is not from 0 to below 1.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> ELU(2, 3, alpha=0.5).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)

    Source: Clevert et al. 2016, arXiv:1511.07289, equation 15.
    """
    params = affine_params(init_W, init_b, bias)
    return dense_activation("elu", nO, nI, params, normalize, dropout, _settings(alpha))


@affine_activation("selu", lecun_normal)
def SELU() -> None:
    """Affine map followed by `selu`: Y = 1.0507 * Z above 0, 1.7581 * (exp(Z) - 1) below.

    Z is X @ W.T + b. The input is an array of floats (n, nI), the output an array (n, nO). With
    weights of variance 1 / nI, such as `lecun_normal` draws, the output has the variance of the
    input.

    Example:
        >>> import numpy as np
        >>> SELU(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)

    Source: Klambauer et al. 2017, arXiv:1706.02515, equation 2.
    """

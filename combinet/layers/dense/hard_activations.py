"""Piecewise linear and quadratic activations, alone and after an affine map."""

from combinet.core.model import Model
from combinet.errors import InputError
from combinet.initializers import glorot_uniform, he_normal, zeros
from combinet.layers.dense.activation import activation, affine_activation, dense_activation, line
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def _relu_k(k: float) -> dict[str, float]:
    if not k > 0:
        raise InputError(f"relu_k expected a k above 0, got {k!r}")
    return line(max_val=k)


def clipped_linear(
    *, slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0
) -> Model[Floats, Floats]:
    """Applies a line with bounds: Y = min(max(X * slope + offset, min_val), max_val).

    The input is an array of floats of any shape. The gradient is 0 at the bounds and outside.

    Args:
        slope: Slope of the line, not 0.
        offset: Value of the line at 0.
        min_val: Lower bound of Y.
        max_val: Upper bound of Y. It must be above `min_val`.

    Raises:
        InputError: If the slope is 0 or the bounds are not in order.

    Example:
        >>> import numpy as np
        >>> clipped_linear(slope=2.0, max_val=3.0).predict(np.array([-1.0, 1.0, 2.0]))
        array([0., 2., 3.])
    """
    return activation("clipped_linear", line(slope, offset, min_val, max_val))


def relu_k(k: float = 6.0) -> Model[Floats, Floats]:
    """Applies the rectifier with an upper bound: Y = min(max(X, 0), k).

    The input is an array of floats of any shape. With k = 6, this is PyTorch's ReLU6.

    Args:
        k: Upper bound of Y, above 0.

    Raises:
        InputError: If k is not above 0.

    Example:
        >>> import numpy as np
        >>> relu_k(2.0).predict(np.array([-1.0, 1.0, 3.0]))
        array([0., 1., 2.])
    """
    return activation("relu_k", _relu_k(k))


def hard_tanh() -> Model[Floats, Floats]:
    """Applies a piecewise linear tanh: Y = min(max(X, -1), 1).

    The input is an array of floats of any shape.

    Example:
        >>> import numpy as np
        >>> hard_tanh().predict(np.array([-2.0, 0.5]))
        array([-1. ,  0.5])
    """
    return activation("hard_tanh")


def hard_sigmoid() -> Model[Floats, Floats]:
    """Applies a piecewise linear logistic function: Y = min(max(X / 5 + 1/2, 0), 1).

    The input is an array of floats of any shape. PyTorch's Hardsigmoid has the slope 1/6; use
    `clipped_linear(slope=1 / 6, offset=0.5)` for it.

    Example:
        >>> import numpy as np
        >>> hard_sigmoid().predict(np.array([-3.0, 0.5]))
        array([0. , 0.6])
    """
    return activation("hard_sigmoid")


def hard_swish() -> Model[Floats, Floats]:
    """Applies a piecewise quadratic swish: Y = X * hard_sigmoid(X).

    The input is an array of floats of any shape. Y is 0 up to -2.5, and X from 2.5 on.

    Example:
        >>> import numpy as np
        >>> hard_swish().predict(np.array([-3.0, 0.5, 4.0]))
        array([-0. ,  0.3,  4. ])

    Source: Avenash and Viswanath 2019, "Semantic segmentation of satellite images using a modified
    CNN with hard-swish activation function".
    """
    return activation("hard_swish")


def hard_swish_mobilenet() -> Model[Floats, Floats]:
    """Applies MobileNet's piecewise quadratic swish: Y = X * min(max(X + 3, 0), 6) / 6.

    The input is an array of floats of any shape. This is PyTorch's Hardswish.

    Example:
        >>> import numpy as np
        >>> hard_swish_mobilenet().predict(np.array([-4.0, 1.5, 4.0]))
        array([-0.   ,  1.125,  4.   ])

    Source: Howard et al. 2019, arXiv:1905.02244, section 5.2.
    """
    return activation("hard_swish_mobilenet")


def ClippedLinear(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    bias: bool = True,
    dropout: float | None = None,
    normalize: bool = False,
    slope: float = 1.0,
    offset: float = 0.0,
    min_val: float = 0.0,
    max_val: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map followed by `clipped_linear`: Y = min(max(Z * slope + offset, min_val), max_val).

    Z is X @ W.T + b. The input is an array of floats (n, nI), the output an array (n, nO). The
    gradient of Z is 0 at the bounds and outside.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `glorot_uniform` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.
        dropout: Rate of a `Dropout` layer at the end, from 0 to below 1. None adds no such layer.
        normalize: Whether to add a `LayerNorm` layer after the activation.
        slope: Slope of the line, not 0.
        offset: Value of the line at 0.
        min_val: Lower bound of Y.
        max_val: Upper bound of Y. It must be above `min_val`.

    Raises:
        InputError: If the slope is 0, the bounds are not in order, or the dropout rate is not from
            0 to below 1.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> ClippedLinear(2, 3, offset=0.25).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.25, 0.25]], dtype=float32)
    """
    params = affine_params(init_W, init_b, bias)
    settings = line(slope, offset, min_val, max_val)
    return dense_activation("clipped_linear", nO, nI, params, normalize, dropout, settings)


def ReluK(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    bias: bool = True,
    dropout: float | None = None,
    normalize: bool = False,
    k: float = 6.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map followed by `relu_k`: Y = min(max(X @ W.T + b, 0), k).

    The input is an array of floats (n, nI), the output an array (n, nO).

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `glorot_uniform` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.
        dropout: Rate of a `Dropout` layer at the end, from 0 to below 1. None adds no such layer.
        normalize: Whether to add a `LayerNorm` layer after the activation.
        k: Upper bound of Y, above 0.

    Raises:
        InputError: If k is not above 0, or if the dropout rate is not from 0 to below 1.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> ReluK(2, 3, k=2.0).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    params = affine_params(init_W, init_b, bias)
    return dense_activation("relu_k", nO, nI, params, normalize, dropout, _relu_k(k))


@affine_activation("hard_tanh", glorot_uniform)
def HardTanh() -> None:
    """Affine map followed by `hard_tanh`: Y = min(max(X @ W.T + b, -1), 1).

    The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> HardTanh(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """


@affine_activation("hard_sigmoid", glorot_uniform)
def HardSigmoid() -> None:
    """Affine map followed by `hard_sigmoid`: Y = min(max(Z / 5 + 1/2, 0), 1), with Z = X @ W.T + b.

    The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> HardSigmoid(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5, 0.5]], dtype=float32)
    """


@affine_activation("hard_swish", he_normal)
def HardSwish() -> None:
    """Affine map followed by `hard_swish`: Y = Z * min(max(Z / 5 + 1/2, 0), 1).

    Z is X @ W.T + b. The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> HardSwish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """


@affine_activation("hard_swish_mobilenet", he_normal)
def HardSwishMobilenet() -> None:
    """Affine map followed by `hard_swish_mobilenet`: Y = Z * min(max(Z + 3, 0), 6) / 6.

    Z is X @ W.T + b. The input is an array of floats (n, nI), the output an array (n, nO).

    Example:
        >>> import numpy as np
        >>> HardSwishMobilenet(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)

    Source: Howard et al. 2019, arXiv:1905.02244, section 5.2.
    """

"""Piecewise linear and quadratic activations, alone and after an affine map."""

from __future__ import annotations

from combinet.core.model import Model
from combinet.errors import InputError
from combinet.initializers import glorot_uniform, he_normal, zeros
from combinet.layers.dense.activation import activation, affine_activation, dense_activation, line
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def _relu_k(k: float) -> dict[str, float]:
    if not k > 0:
        raise InputError(f"relu_k takes a k above 0, not {k!r}")
    return line(max_val=k)


def clipped_linear(
    *, slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0
) -> Model[Floats, Floats]:
    """Y = X * slope + offset, between min_val and max_val; for floats of any shape.

    The gradient is 0 beyond the bounds and on them. Raises InputError for a slope of 0 and for
    bounds that are not in order.

    Example:
        >>> import numpy as np
        >>> clipped_linear(slope=2.0, max_val=3.0).predict(np.array([-1.0, 1.0, 2.0]))
        array([0., 2., 3.])
    """
    return activation("clipped_linear", line(slope, offset, min_val, max_val))


def relu_k(k: float = 6.0) -> Model[Floats, Floats]:
    """Y = min(max(X, 0), k), for floats of any shape; with k = 6 PyTorch's ReLU6.

    Raises InputError for a k that is not above 0.

    Example:
        >>> import numpy as np
        >>> relu_k(2.0).predict(np.array([-1.0, 1.0, 3.0]))
        array([0., 1., 2.])
    """
    return activation("relu_k", _relu_k(k))


def hard_tanh() -> Model[Floats, Floats]:
    """Y = min(max(X, -1), 1), for floats of any shape.

    Example:
        >>> import numpy as np
        >>> hard_tanh().predict(np.array([-2.0, 0.5]))
        array([-1. ,  0.5])
    """
    return activation("hard_tanh")


def hard_sigmoid() -> Model[Floats, Floats]:
    """Y = min(max(X / 5 + 1/2, 0), 1), for floats of any shape.

    PyTorch's Hardsigmoid has the slope 1/6: `clipped_linear(slope=1 / 6, offset=0.5)`.

    Example:
        >>> import numpy as np
        >>> hard_sigmoid().predict(np.array([-3.0, 0.5]))
        array([0. , 0.6])
    """
    return activation("hard_sigmoid")


def hard_swish() -> Model[Floats, Floats]:
    """Y = X * hard_sigmoid(X): 0 up to -2.5, X from 2.5 on; for floats of any shape.

    Avenash and Viswanath 2019, "Semantic segmentation of satellite images using a modified CNN
    with hard-swish activation function".

    Example:
        >>> import numpy as np
        >>> hard_swish().predict(np.array([-3.0, 0.5, 4.0]))
        array([-0. ,  0.3,  4. ])
    """
    return activation("hard_swish")


def hard_swish_mobilenet() -> Model[Floats, Floats]:
    """Y = X * min(max(X + 3, 0), 6) / 6, for floats of any shape.

    Howard et al. 2019, arXiv:1905.02244, section 5.2: PyTorch's Hardswish.

    Example:
        >>> import numpy as np
        >>> hard_swish_mobilenet().predict(np.array([-4.0, 1.5, 4.0]))
        array([-0.   ,  1.125,  4.   ])
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
    """Affine map and `clipped_linear`: Y = Z * slope + offset, from min_val to max_val.

    Z = X @ W.T + b. X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). The
    gradient is 0 beyond the bounds and on them. Raises DimensionError if X is not (n, nI),
    InputError for a slope of 0 and for bounds that are not in order.

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
    """Affine map and `relu_k`: Y = min(max(X @ W.T + b, 0), k).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).
    Raises InputError for a k that is not above 0.

    Example:
        >>> import numpy as np
        >>> ReluK(2, 3, k=2.0).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    params = affine_params(init_W, init_b, bias)
    return dense_activation("relu_k", nO, nI, params, normalize, dropout, _relu_k(k))


@affine_activation("hard_tanh", glorot_uniform)
def HardTanh() -> None:
    """Affine map and `hard_tanh`: Y = min(max(X @ W.T + b, -1), 1).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> HardTanh(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """


@affine_activation("hard_sigmoid", glorot_uniform)
def HardSigmoid() -> None:
    """Affine map and `hard_sigmoid`: Y = min(max(Z / 5 + 1/2, 0), 1), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> HardSigmoid(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5, 0.5]], dtype=float32)
    """


@affine_activation("hard_swish", he_normal)
def HardSwish() -> None:
    """Affine map and `hard_swish`: Y = Z * min(max(Z / 5 + 1/2, 0), 1), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises DimensionError if X
    is not (n, nI).

    Example:
        >>> import numpy as np
        >>> HardSwish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """


@affine_activation("hard_swish_mobilenet", he_normal)
def HardSwishMobilenet() -> None:
    """Affine map and `hard_swish_mobilenet`: Y = Z * min(max(Z + 3, 0), 6) / 6.

    Z = X @ W.T + b. X (n, nI) -> Y (n, nO). Params: W (nO, nI) and, if `bias`, b (nO,). Raises
    DimensionError if X is not (n, nI). Howard et al. 2019, arXiv:1905.02244, section 5.2.

    Example:
        >>> import numpy as np
        >>> HardSwishMobilenet(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """

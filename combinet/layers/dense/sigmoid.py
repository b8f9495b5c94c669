"""The logistic function, alone and after an affine map."""

from combinet.core.model import Model
from combinet.initializers import zeros
from combinet.layers.dense.activation import activation, dense_activation
from combinet.layers.dense.linear import affine_params
from combinet.types import Floats, Floats2d, Initializer


def sigmoid_activation() -> Model[Floats, Floats]:
    """Applies the logistic function: Y = 1 / (1 + exp(-X)).

    The input is an array of floats of any shape. The derivative is computed from X, so it does not
    vanish where Y rounds to 1.

    Example:
        >>> import numpy as np
        >>> sigmoid_activation().predict(np.array([0.0, 1.0])).round(4)
        array([0.5   , 0.7311])
    """
    return activation("sigmoid_activation")


def Logistic() -> Model[Floats, Floats]:
    """Applies the logistic function. Same as `sigmoid_activation`, under Thinc's older name.

    Example:
        >>> import numpy as np
        >>> Logistic().predict(np.array([0.0, 1.0])).round(4)
        array([0.5   , 0.7311])
    """
    return sigmoid_activation()


def Sigmoid(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Affine map followed by the logistic function: Y = 1 / (1 + exp(-Z)), with Z = X @ W.T + b.

    The input is an array of floats (n, nI), the output an array (n, nO). Each output number can be
    used as an independent probability.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `zeros` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.

    Raises:
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> Sigmoid(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5, 0.5]], dtype=float32)
    """
    return dense_activation("sigmoid", nO, nI, affine_params(init_W, init_b, bias))

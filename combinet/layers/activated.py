"""Layers of an affine map and a smooth activation, or the rectifier.

Of each, `init_W` and `init_b` are the initializers; with `normalize` a LayerNorm follows, with
`dropout`, a rate from 0 to below 1, a Dropout.
"""

from __future__ import annotations

from typing import Any

from combinet.initializers import glorot_uniform, he_normal, lecun_normal, zeros
from combinet.layers.activations import activated, elu_settings, selu_settings
from combinet.layers.finish import finished
from combinet.layers.linear import affine_params
from combinet.model import Model
from combinet.run import Run
from combinet.types import Floats2d, Initializer


def Relu(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and rectifier: Y = max(X @ W.T + b, 0).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Relu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    model: Model[Any, Any] = Model(
        "relu",
        _relu,
        dims={"nI": nI, "nO": nO},
        params=affine_params(init_W, init_b),
        takes="floats2d",
    )
    return finished(model, normalize, dropout)


def _relu(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    W, b = run.params(model, "W", "b")
    wants_dX = run.wants_dX
    Y = run.ops.affine_relu(X, W, b)

    def backprop(dY: Floats2d) -> Floats2d | None:
        dZ: Any = run.ops.backprop_relu(dY, Y)
        dX, dW, db = run.ops.backprop_affine(dZ, X, W, wants_dX)
        run.inc_grad(model, W=dW, b=db)
        return dX

    return Y, backprop


def Gelu(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `gelu`: Y = Z * P(Z), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Gelu(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated("gelu", nO, nI, init_W, init_b, dropout, normalize)


def Mish(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `mish`: Y = Z * tanh(log(1 + exp Z)), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).
    Misra 2019, arXiv:1908.08681, equation 1.

    Example:
        >>> import numpy as np
        >>> Mish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated("mish", nO, nI, init_W, init_b, dropout, normalize)


def Swish(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `swish`: Y = Z * sigmoid(Z), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).
    Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.

    Example:
        >>> import numpy as np
        >>> Swish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated("swish", nO, nI, init_W, init_b, dropout, normalize)


def Dish(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `dish`: Y = Z / 2 * (1 + Z / sqrt(1 + Z * Z)), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> Dish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated("dish", nO, nI, init_W, init_b, dropout, normalize)


def ELU(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
    alpha: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `elu`: Y = Z above 0, alpha * (exp(Z) - 1) below, with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).
    Clevert et al. 2016, arXiv:1511.07289, equation 15.

    Example:
        >>> import numpy as np
        >>> ELU(2, 3, alpha=0.5).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated(
        "elu", nO, nI, init_W, init_b, dropout, normalize, settings=elu_settings(alpha)
    )


def SELU(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = lecun_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `selu`: Y = 1.0507 * Z above 0, 1.7581 * (exp(Z) - 1) below.

    Z = X @ W.T + b. X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises
    DimensionError if X is not (n, nI). Klambauer et al. 2017, arXiv:1706.02515, equation 2: the
    output's variance is the input's, with weights of variance 1 / nI, as `lecun_normal` gives.

    Example:
        >>> import numpy as np
        >>> SELU(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated(
        "elu", nO, nI, init_W, init_b, dropout, normalize, "selu", settings=selu_settings()
    )


def Sigmoid(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
) -> Model[Floats2d, Floats2d]:
    """Affine map and logistic function: Y = 1 / (1 + exp(-Z)), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).
    An output of independent probabilities.

    Example:
        >>> import numpy as np
        >>> Sigmoid(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5, 0.5]], dtype=float32)
    """
    return activated("sigmoid", nO, nI, init_W, init_b)

"""Layers of an affine map and an activation made of straight lines or of a parabola.

Of each, `init_W` and `init_b` are the initializers; with `normalize` a LayerNorm follows, with
`dropout`, a rate from 0 to below 1, a Dropout.
"""

from __future__ import annotations

from combinet.initializers import glorot_uniform, he_normal, zeros
from combinet.layers.activations import (
    HARD_SIGMOID,
    HARD_SWISH,
    HARD_SWISH_MOBILENET,
    HARD_TANH,
    activated,
    clipped_settings,
    relu_k_settings,
)
from combinet.model import Model
from combinet.types import Floats2d, Initializer


def ClippedLinear(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
    slope: float = 1.0,
    offset: float = 0.0,
    min_val: float = 0.0,
    max_val: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `clipped_linear`: Y = Z * slope + offset, from min_val to max_val.

    Z = X @ W.T + b. X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). The gradient is 0 beyond
    the bounds and on them. Raises DimensionError if X is not (n, nI), InputError for a slope of 0
    and for bounds that are not in order.

    Example:
        >>> import numpy as np
        >>> ClippedLinear(2, 3, offset=0.25).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.25, 0.25]], dtype=float32)
    """
    return activated(
        "clipped_linear", nO, nI, init_W, init_b, dropout, normalize,
        settings=clipped_settings(slope, offset, min_val, max_val),
    )  # fmt: skip


def ReluK(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
    k: float = 6.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `relu_k`: Y = min(max(X @ W.T + b, 0), k).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).
    Raises InputError for a k that is not above 0.

    Example:
        >>> import numpy as np
        >>> ReluK(2, 3, k=2.0).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated(
        "clipped_linear", nO, nI, init_W, init_b, dropout, normalize, "relu_k",
        settings=relu_k_settings(k),
    )  # fmt: skip


def HardTanh(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `hard_tanh`: Y = min(max(X @ W.T + b, -1), 1).

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> HardTanh(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated(
        "clipped_linear", nO, nI, init_W, init_b, dropout, normalize, "hard_tanh",
        settings=HARD_TANH,
    )  # fmt: skip


def HardSigmoid(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `hard_sigmoid`: Y = min(max(Z / 5 + 1/2, 0), 1), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> HardSigmoid(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5, 0.5]], dtype=float32)
    """
    return activated(
        "clipped_linear", nO, nI, init_W, init_b, dropout, normalize, "hard_sigmoid",
        settings=HARD_SIGMOID,
    )  # fmt: skip


def HardSwish(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `hard_swish`: Y = Z * min(max(Z / 5 + 1/2, 0), 1), with Z = X @ W.T + b.

    X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises DimensionError if X is not (n, nI).

    Example:
        >>> import numpy as np
        >>> HardSwish(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated("hard_swish", nO, nI, init_W, init_b, dropout, normalize, settings=HARD_SWISH)


def HardSwishMobilenet(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = he_normal,
    init_b: Initializer = zeros,
    dropout: float | None = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Affine map and `hard_swish_mobilenet`: Y = Z * min(max(Z + 3, 0), 6) / 6.

    Z = X @ W.T + b. X (n, nI) -> Y (n, nO). Params: W (nO, nI), b (nO,). Raises
    DimensionError if X is not (n, nI). Howard et al. 2019, arXiv:1905.02244, section 5.2.

    Example:
        >>> import numpy as np
        >>> HardSwishMobilenet(2, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0., 0.]], dtype=float32)
    """
    return activated(
        "hard_swish", nO, nI, init_W, init_b, dropout, normalize, "hard_swish_mobilenet",
        settings=HARD_SWISH_MOBILENET,
    )  # fmt: skip

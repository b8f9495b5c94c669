"""First values of parameters: functions (shape, generator) -> float64 array.

They run on the host, whatever device the model is on, so that a seed gives the same weights
everywhere. A weight's first axis is its output size, its last the input size; axes between them,
such as maxout's pieces, count for neither. Thinc's names end in `_init`, these don't.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from combinet.types import Floats, Generator, Initializer, Shape


def zeros(shape: Shape, rng: Generator) -> Floats:
    """All 0."""
    return np.zeros(shape)


def ones(shape: Shape, rng: Generator) -> Floats:
    """All 1."""
    return np.ones(shape)


def glorot_uniform(shape: Shape, rng: Generator) -> Floats:
    """Uniform within +-sqrt(6 / (nO + nI)). Glorot and Bengio 2010, equation 16.

    Example:
        >>> import numpy as np
        >>> W = glorot_uniform((300, 200), np.random.default_rng(0))
        >>> bool(abs(W).max() <= (6 / 500) ** 0.5)
        True
    """
    bound = (6.0 / (shape[0] + shape[-1])) ** 0.5
    return rng.uniform(-bound, bound, shape)


def glorot_normal(shape: Shape, rng: Generator) -> Floats:
    """Normal, std sqrt(2 / (nO + nI)). Glorot and Bengio 2010, equation 12."""
    return rng.normal(0.0, (2.0 / (shape[0] + shape[-1])) ** 0.5, shape)


def he_normal(shape: Shape, rng: Generator) -> Floats:
    """Normal, std sqrt(2 / nI), for rectifiers. He et al. 2015, arXiv:1502.01852, (10)."""
    return rng.normal(0.0, (2.0 / shape[-1]) ** 0.5, shape)


def he_uniform(shape: Shape, rng: Generator) -> Floats:
    """Uniform within +-sqrt(6 / nI): of the variance of `he_normal`, for rectifiers."""
    bound = (6.0 / shape[-1]) ** 0.5
    return rng.uniform(-bound, bound, shape)


def lecun_normal(shape: Shape, rng: Generator) -> Floats:
    """Normal, std sqrt(1 / nI). LeCun et al. 1998, Efficient BackProp, equation 16."""
    return rng.normal(0.0, (1.0 / shape[-1]) ** 0.5, shape)


def lecun_uniform(shape: Shape, rng: Generator) -> Floats:
    """Uniform within +-sqrt(3 / nI): of the variance of `lecun_normal`."""
    bound = (3.0 / shape[-1]) ** 0.5
    return rng.uniform(-bound, bound, shape)


def orthogonal(shape: Shape, rng: Generator) -> Floats:
    """Rows at right angles to each other, of length 1; or columns, where there are fewer.

    Drawn uniformly from all such matrices (nO, nI), one for each piece of a maxout; a vector is
    one column. Saxe et al. 2014, arXiv:1312.6120.

    Example:
        >>> import numpy as np
        >>> W = orthogonal((2, 3), np.random.default_rng(0))
        >>> bool(np.allclose(W @ W.T, np.eye(2)))
        True
    """
    rows, *pieces, columns = shape if len(shape) > 1 else (*shape, 1)
    tall, wide = max(rows, columns), min(rows, columns)
    Q, R = np.linalg.qr(rng.normal(size=(*pieces, tall, wide)))
    # The signs that QR chooses depend on the matrix; with R's diagonal above 0 it is uniform
    # (Mezzadri 2007, arXiv:math-ph/0609050).
    Q *= np.sign(np.diagonal(R, axis1=-2, axis2=-1))[..., None, :]
    W = Q if rows >= columns else Q.swapaxes(-1, -2)
    return np.moveaxis(W, -2, 0).reshape(shape)


def uniform(low: float = -0.1, high: float = 0.1) -> Initializer:
    """An initializer that draws uniformly from [low, high)."""
    return partial(_uniform, low, high)


def _uniform(low: float, high: float, shape: Shape, rng: Generator) -> Floats:
    return rng.uniform(low, high, shape)


def normal(std: float = 0.1) -> Initializer:
    """An initializer that draws from the normal distribution with mean 0."""
    return partial(_normal, std)


def _normal(std: float, shape: Shape, rng: Generator) -> Floats:
    return rng.normal(0.0, std, shape)

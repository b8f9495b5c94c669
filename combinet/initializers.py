"""First values of parameters: functions (shape, generator) -> float64 array.

They run on the host, whatever device the model is on, so that a seed gives the same weights
everywhere. A weight's first axis is its output size, its last the input size; axes between them,
such as maxout's pieces, count for neither.
"""

from __future__ import annotations

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


def he_normal(shape: Shape, rng: Generator) -> Floats:
    """Normal, deviation sqrt(2 / nI), for rectifiers. He et al. 2015, arXiv:1502.01852, (10)."""
    return rng.normal(0.0, (2.0 / shape[-1]) ** 0.5, shape)


def uniform(low: float = -0.1, high: float = 0.1) -> Initializer:
    """An initializer that draws uniformly from [low, high)."""

    def init(shape: Shape, rng: Generator) -> Floats:
        return rng.uniform(low, high, shape)

    return init


def normal(deviation: float = 0.1) -> Initializer:
    """An initializer that draws from the normal distribution with mean 0."""

    def init(shape: Shape, rng: Generator) -> Floats:
        return rng.normal(0.0, deviation, shape)

    return init

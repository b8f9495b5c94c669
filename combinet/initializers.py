"""Initializers, which return the first values of a parameter: (shape, generator) -> float64 array.

They run on the host, even for a model on a GPU, so that a seed gives the same weights everywhere.
The first axis of a weight is its number of outputs nO, and the last is its number of inputs nI.
Axes in between, such as the pieces of a maxout, count for neither. Thinc's names for initializers
end in `_init`; combinet's do not.
"""

from functools import partial

import numpy as np

from combinet.types import Floats, Generator, Initializer, Shape


def zeros(shape: Shape, rng: Generator) -> Floats:
    """Returns zeros.

    Args:
        shape: Shape of the parameter.
        rng: Not used.

    Example:
        >>> import numpy as np
        >>> zeros((3,), np.random.default_rng(0))
        array([0., 0., 0.])
    """
    return np.zeros(shape)


def ones(shape: Shape, rng: Generator) -> Floats:
    """Returns ones.

    Args:
        shape: Shape of the parameter.
        rng: Not used.

    Example:
        >>> import numpy as np
        >>> ones((3,), np.random.default_rng(0))
        array([1., 1., 1.])
    """
    return np.ones(shape)


def glorot_uniform(shape: Shape, rng: Generator) -> Floats:
    """Draws uniformly from -b to b, with b = sqrt(6 / (nO + nI)).

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = glorot_uniform((300, 200), np.random.default_rng(0))
        >>> bool(abs(W).max() <= (6 / 500) ** 0.5)
        True

    Source: Glorot and Bengio 2010, equation 16.
    """
    bound = (6.0 / (shape[0] + shape[-1])) ** 0.5
    return rng.uniform(-bound, bound, shape)


def glorot_normal(shape: Shape, rng: Generator) -> Floats:
    """Draws from the normal distribution with mean 0 and variance 2 / (nO + nI).

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = glorot_normal((300, 200), np.random.default_rng(0))
        >>> round(float(W.var() * 500), 1)
        2.0

    Source: Glorot and Bengio 2010, equation 12.
    """
    return rng.normal(0.0, (2.0 / (shape[0] + shape[-1])) ** 0.5, shape)


def he_normal(shape: Shape, rng: Generator) -> Floats:
    """Draws from the normal distribution with mean 0 and variance 2 / nI, for rectifiers.

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = he_normal((300, 200), np.random.default_rng(0))
        >>> round(float(W.var() * 200), 1)
        2.0

    Source: He et al. 2015, arXiv:1502.01852, equation 10.
    """
    return rng.normal(0.0, (2.0 / shape[-1]) ** 0.5, shape)


def he_uniform(shape: Shape, rng: Generator) -> Floats:
    """Draws uniformly from -b to b, with b = sqrt(6 / nI), for rectifiers.

    The variance is 2 / nI, as in `he_normal`.

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = he_uniform((300, 200), np.random.default_rng(0))
        >>> bool(abs(W).max() <= (6 / 200) ** 0.5)
        True
    """
    bound = (6.0 / shape[-1]) ** 0.5
    return rng.uniform(-bound, bound, shape)


def lecun_normal(shape: Shape, rng: Generator) -> Floats:
    """Draws from the normal distribution with mean 0 and variance 1 / nI.

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = lecun_normal((300, 200), np.random.default_rng(0))
        >>> round(float(W.var() * 200), 1)
        1.0

    Source: LeCun et al. 1998, Efficient BackProp, equation 16.
    """
    return rng.normal(0.0, (1.0 / shape[-1]) ** 0.5, shape)


def lecun_uniform(shape: Shape, rng: Generator) -> Floats:
    """Draws uniformly from -b to b, with b = sqrt(3 / nI).

    The variance is 1 / nI, as in `lecun_normal`.

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = lecun_uniform((300, 200), np.random.default_rng(0))
        >>> bool(abs(W).max() <= (3 / 200) ** 0.5)
        True
    """
    bound = (3.0 / shape[-1]) ** 0.5
    return rng.uniform(-bound, bound, shape)


def orthogonal(shape: Shape, rng: Generator) -> Floats:
    """Draws uniformly from all matrices with orthonormal rows, or columns if these are fewer.

    The matrices have the shape (nO, nI). Each piece of a maxout has its own matrix. A vector is a
    single column.

    Args:
        shape: Shape of the parameter, outputs first and inputs last.
        rng: Generator that draws the numbers.

    Example:
        >>> import numpy as np
        >>> W = orthogonal((2, 3), np.random.default_rng(0))
        >>> bool(np.allclose(W @ W.T, np.eye(2)))
        True

    Source: Saxe et al. 2014, arXiv:1312.6120.
    """
    rows, *pieces, columns = shape if len(shape) > 1 else (*shape, 1)
    tall, wide = max(rows, columns), min(rows, columns)
    Q, R = np.linalg.qr(rng.normal(size=(*pieces, tall, wide)))
    # QR's choice of signs biases the distribution of Q. It is uniform once the diagonal of R is
    # positive (Mezzadri 2007, arXiv:math-ph/0609050).
    Q *= np.sign(np.diagonal(R, axis1=-2, axis2=-1))[..., None, :]
    W = Q if rows >= columns else Q.swapaxes(-1, -2)
    return np.moveaxis(W, -2, 0).reshape(shape)


def uniform(low: float = -0.1, high: float = 0.1) -> Initializer:
    """Returns an initializer that draws uniformly from [low, high).

    Args:
        low: Lower bound.
        high: Upper bound.

    Example:
        >>> import numpy as np
        >>> W = uniform(-1.0, 0.0)((300, 200), np.random.default_rng(0))
        >>> round(float(W.mean()), 1)
        -0.5
    """
    return partial(_uniform, low, high)


def _uniform(low: float, high: float, shape: Shape, rng: Generator) -> Floats:
    return rng.uniform(low, high, shape)


def normal(std: float = 0.1) -> Initializer:
    """Returns an initializer that draws from the normal distribution with mean 0.

    Args:
        std: Standard deviation.

    Example:
        >>> import numpy as np
        >>> W = normal(0.5)((300, 200), np.random.default_rng(0))
        >>> round(float(W.std()), 1)
        0.5
    """
    return partial(_normal, std)


def _normal(std: float, shape: Shape, rng: Generator) -> Floats:
    return rng.normal(0.0, std, shape)

"""Batch normalization."""

from typing import Any

from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run, no_backprop
from combinet.errors import DimensionError, InputError, describe
from combinet.initializers import ones, zeros
from combinet.layers.norm.layer_norm import norm_layer
from combinet.types import Floats2d


def BatchNorm(
    nI: int | None = None, *, eps: float = 1e-5, momentum: float = 0.1
) -> Model[Floats2d, Floats2d]:
    """Normalizes each column to mean 0 and variance 1, then scales and shifts it: Y = G * N + b.

    The input and the output are arrays of floats (n, nI). N = (X - mean) / sqrt(var + eps).
    Training uses the mean and the biased variance of the batch, and the gradient includes both.
    `predict` uses running values.

    The weights are G (nI,), initially 1, and b (nI,), initially 0. The running values are the
    buffers mean (nI,), initially 0, and var (nI,), initially 1. A backward pass adds the mean and
    the unbiased variance of the batch, like gradients. An update moves the buffers toward the mean
    of everything added since the last update. It moves them once, even after several passes, and
    even if the layer occurs several times in the model.

    Args:
        nI: Number of columns. Inferred from the neighboring layers or from a sample if None.
        eps: Number that is added to the variance, above 0.
        momentum: Fraction by which an update moves the running values, above 0 and at most 1.

    Raises:
        InputError: If `eps` or `momentum` is out of range.
        DimensionError: If X does not have nI columns, or if it has fewer than 2 rows in training,
            because the unbiased variance needs 2.

    Example:
        >>> import numpy as np
        >>> from combinet import SGD
        >>> model = BatchNorm(1, momentum=1.0).initialize()
        >>> Y, backprop = model.begin_update(np.array([[1], [3]], dtype="float32"))
        >>> Y.round(3)
        array([[-1.],
               [ 1.]], dtype=float32)
        >>> dX = backprop(Y, SGD(0.1))
        >>> model.get_param("mean"), model.get_param("var")
        (array([2.], dtype=float32), array([2.], dtype=float32))

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.
    """
    if not 0 < momentum <= 1:
        raise InputError(f"batch_norm expected 0 < momentum <= 1, got {momentum!r}")
    params = {
        "G": Param(("nI",), ones),
        "b": Param(("nI",), zeros),
        "mean": Param(("nI",), zeros, ema_rate=momentum),
        "var": Param(("nI",), ones, ema_rate=momentum),
    }
    return norm_layer("batch_norm", _batch_norm, nI, eps, params)


def _batch_norm(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    eps = model.attrs["eps"]
    if not run.train:
        G, b, mean, var = run.params(model, "G", "b", "mean", "var")
        return run.ops.normalize(X, mean, var, G, b, eps), no_backprop
    n = X.shape[0]
    if n < 2:
        raise DimensionError(f"{model.name} expected 2 rows or more in training, got {describe(X)}")
    G, b = run.params(model, "G", "b")
    Y, saved, mean, var = run.ops.batch_norm(X, G, b, eps)

    def backprop(dY: Floats2d) -> Floats2d:
        dX, dG, db = run.ops.backprop_batch_norm(dY, saved)
        run.inc_grad(model, G=dG, b=db, mean=mean, var=var * (n / (n - 1)))
        return dX

    return Y, backprop

"""Batch normalization."""

from __future__ import annotations

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
    """Each column at mean 0 and variance 1, then scaled and shifted: Y = G * N + b.

    X (n, nI) -> Y (n, nI). N = (X - m) / sqrt(v + eps): in training with the mean and the biased
    variance of the batch's columns, through which the gradient goes as well, in `predict` with the
    running ones. Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.

    Params: G (nI,), at first 1, b (nI,); statistics: mean (nI,), at first 0, var (nI,), at first 1.
    A backward pass adds the batch's mean and unbiased variance as it adds gradients, and an update
    moves the statistics by `momentum` toward the mean of what has been added since the last one:
    once, whether by one pass or many, and for a layer that stands in two places as well.

    Raises DimensionError if X is not (n, nI), and in training if n is below 2: a row alone has no
    variance. InputError if eps is not above 0, or momentum not above 0 and at most 1.

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
    """
    if not 0 < momentum <= 1:
        raise InputError(f"batch_norm takes 0 < momentum <= 1, not {momentum!r}")
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
        raise DimensionError(
            f"{model.name} needs 2 rows or more in training, for a variance, not {describe(X)}"
        )
    G, b = run.params(model, "G", "b")
    Y, saved, mean, var = run.ops.batch_norm(X, G, b, eps)

    def backprop(dY: Floats2d) -> Floats2d:
        dX, dG, db = run.ops.backprop_batch_norm(dY, saved)
        run.inc_grad(model, G=dG, b=db, mean=mean, var=var * (n / (n - 1)))
        return dX

    return Y, backprop

"""Dropout."""

from typing import Any

from combinet.combinators.tree_edit import M
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_rules import preserves
from combinet.errors import InputError
from combinet.types import Floats


def Dropout(rate: float | None = None) -> Model[Floats, Floats]:
    """In training, sets numbers to 0 with probability `rate` and divides the others by 1 - rate.

    The input is an array of floats of any shape. `predict` returns it unchanged. The mask depends
    only on the random generator of the pass, not on the device.

    Args:
        rate: Dropout rate, from 0 to below 1. If None, the layer uses the argument `drop` of
            `begin_update`.

    Raises:
        InputError: If the rate is not from 0 to below 1.

    Example:
        >>> import numpy as np
        >>> Y, backprop = Dropout().begin_update(np.ones(8), drop=0.5)
        >>> sorted(set(Y.tolist()))
        [0.0, 2.0]

    Source: Srivastava et al. 2014, in the inverted form.
    """
    if rate is not None and not 0 <= rate < 1:
        raise InputError(f"dropout expected a rate from 0 to below 1, got {rate!r}")
    attrs = {"rate": None if rate is None else float(rate)}
    return Model("dropout", _dropout, attrs=attrs, accepts="floats", widths=preserves)


def _dropout(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    rate = run.drop if model.attrs["rate"] is None else model.attrs["rate"]
    if not run.train or rate == 0:
        return X, lambda dY: dY
    seed = int(run.rng.integers(2**32))
    mask = run.ops.dropout_mask(X.shape, rate, seed, X.dtype)
    return run.ops.multiply(X, mask), lambda dY: run.ops.multiply(dY, mask)


def set_dropout_rate(model: M, rate: float | None) -> M:
    """Sets the rate of every `Dropout` in a tree and returns the model.

    Args:
        model: Model to change in place.
        rate: New dropout rate, from 0 to below 1. If None, the layers use the argument `drop` of
            `begin_update`.

    Raises:
        InputError: If the rate is not from 0 to below 1.

    Example:
        >>> from combinet import Dropout, Linear
        >>> model = set_dropout_rate(Linear(2, 2) >> Dropout(0.5), 0.2)
        >>> model.layers[1].attrs["rate"]
        0.2
    """
    checked = Dropout(rate).attrs["rate"]
    for node in model.walk():
        if node.forward is _dropout:
            node.attrs["rate"] = checked
    return model

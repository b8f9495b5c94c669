"""Lists of arrays: checks, and conversions to and from Ragged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.errors import InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.types import Array

_MANY = 8  # arrays, from which on sets are quicker


def list_to_ragged(X: Sequence[Array]) -> Ragged:
    """The arrays of a list, one after the other. Raises InputError for an empty list."""
    if not isinstance(X, list | tuple) or len(X) < 2 or len({*map(type, X)}) > 1:
        check_list(X)
    if not X:
        raise InputError("an empty list has no width: at least one array is needed")
    try:
        data = X[0] if len(X) == 1 else get_array_ops(X[0]).concat_checked(X)
    except (AttributeError, TypeError, ValueError):
        check_list(X)  # it knows what is wrong with them
        raise
    return Ragged.unchecked(data, np.fromiter(map(len, X), "int64", len(X)))


def ragged_to_list(X: Ragged) -> list[Any]:
    """Each sequence's rows, as views of the data."""
    return get_array_ops(X.data).split(X.data, X.lengths)


def _are_alike(X: Sequence[Any]) -> bool:
    """Whether all are arrays that differ in length alone: by sets, sooner than one by one."""
    if not all(hasattr(kind, "dtype") and hasattr(kind, "ndim") for kind in set(map(type, X))):
        return False
    axes = {x.ndim for x in X}
    return (
        len(axes) == 1
        and 0 not in axes
        and len({x.dtype for x in X}) == 1
        and (axes == {1} or len({x.shape[1:] for x in X}) == 1)
    )


def check_list(X: object) -> None:
    """Raise InputError unless X is a list of arrays that differ in nothing but their lengths."""
    if not isinstance(X, list | tuple):
        raise InputError(f"a list of arrays is needed, not {describe(X)}")
    if len(X) > _MANY and _are_alike(X):
        return
    for x in X:
        if not hasattr(x, "dtype") or x.ndim < 1:
            raise InputError(f"a list of arrays is needed, not a list with {describe(x)} in it")
    dtype, shape = (X[0].dtype, X[0].shape[1:]) if X else (None, ())
    for x in X:
        if x.dtype != dtype or x.shape[1:] != shape:
            raise InputError(
                f"the arrays of a list must differ in length alone, not be {describe(X[0])} "
                f"and {describe(x)}"
            )

"""Lists of arrays: checks, and conversions to and from Ragged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.errors import InputError, conversion_hint, describe
from combinet.ops.backends import get_array_ops
from combinet.types import Array


def list_to_ragged(X: Sequence[Array]) -> Ragged:
    """Concatenates the arrays of a list. Raises InputError for an empty list."""
    is_list = isinstance(X, list | tuple) and len({*map(type, X)}) == 1
    if not is_list or not get_array_ops(X[0]).is_array(X[0]) or not X[0].ndim:
        check_list(X)  # slower: it checks each array
    if not X:
        raise InputError("expected at least one array, got an empty list")
    try:
        data = X[0] if len(X) == 1 else get_array_ops(X[0]).concat_checked(X)
    except (AttributeError, TypeError, ValueError):
        check_list(X)  # raises an error that names the wrong array
        raise
    return Ragged.unchecked(data, np.fromiter(map(len, X), "int64", len(X)))


def ragged_to_list(X: Ragged) -> list[Any]:
    """Returns the rows of each sequence, as views of the data."""
    return get_array_ops(X.data).split(X.data, X.lengths)


def check_list(X: object) -> None:
    """Raises InputError unless X is a list of arrays that differ only in their lengths."""
    if not isinstance(X, list | tuple):
        raise InputError(f"expected a list of arrays, got {describe(X)}")
    for x in X:
        if not get_array_ops(x).is_array(x) or x.ndim < 1:
            hint = conversion_hint(x)
            raise InputError(f"expected a list of arrays, got a list with {describe(x)}{hint}")
    if len({(x.dtype, x.shape[1:]) for x in X}) > 1:
        expected = X[0].dtype, X[0].shape[1:]
        other = next(x for x in X if (x.dtype, x.shape[1:]) != expected)
        raise InputError(
            f"expected a list of arrays that differ only in length, got {describe(X[0])} "
            f"and {describe(other)}"
        )

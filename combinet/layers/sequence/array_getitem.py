"""Indexing of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError, describe
from combinet.types import Array

AxisIndex: TypeAlias = "int | slice | Sequence[int]"


def array_getitem(index: AxisIndex | tuple[AxisIndex, ...]) -> Model[Array, Array]:
    """Returns a part of an array: Y = X[index].

    The gradient is 0 where X is not chosen, and the sum of the gradients where it is chosen several
    times. If X does not contain floats, backprop returns None.

    Args:
        index: An int, a slice or a list of ints, for the first axis. Or a tuple of these, one for
            each axis: `(slice(None), slice(-1))` is X[:, :-1].

    Raises:
        InputError: If the index is something else, such as a mask, or if X is not an array.
        DimensionError: If X has too few axes, or if the index is out of range.

    Example:
        >>> import numpy as np
        >>> array_getitem((slice(None), -1)).predict(np.array([[1, 2], [3, 4]]))
        array([2, 4])
    """
    for each in index if isinstance(index, tuple) else (index,):
        numbers = np.asarray(each)
        if not isinstance(each, slice) and numbers.size and numbers.dtype.kind not in "iu":
            raise InputError(f"array_getitem expected ints, slices or lists of ints, got {each!r}")
    return Model("array_getitem", _array_getitem, attrs={"index": index})


def _array_getitem(model: Model[Any, Any], X: Array, run: Run) -> Any:
    if not run.ops.is_array(X):
        raise InputError(f"array_getitem expected an array, got {describe(X)}")
    given = model.attrs["index"]
    axes = given if isinstance(given, tuple) else (given,)
    _check(axes, X)
    index: Any = tuple(
        each if isinstance(each, int | np.integer | slice) else run.ops.asarray(each, "int64")
        for each in axes
    )
    basic, shape, dtype = not any(map(run.ops.is_array, index)), X.shape, X.dtype

    def backprop(dY: Array) -> Array | None:
        if dtype.kind != "f":
            return None
        dX = run.ops.zeros(shape, dtype)
        if basic:
            dX[index] = dY
        else:
            run.ops.xp.add.at(dX, index, dY)
        return dX

    return X[index], backprop


def _check(axes: tuple[Any, ...], X: Array) -> None:
    """Raises DimensionError if an index is out of range, which CuPy would wrap around."""
    fits = len(axes) <= X.ndim and all(
        isinstance(each, slice) or ((np.asarray(each) >= -n) & (np.asarray(each) < n)).all()
        for each, n in zip(axes, X.shape, strict=False)
    )
    if not fits:
        raise DimensionError(f"array_getitem expected an index of {describe(X)}, got {axes}")

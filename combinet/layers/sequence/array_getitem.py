"""Part of an array."""

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
    """Part of an array: Y = X[index].

    An index is what NumPy takes for one axis (an int, a slice, a list of ints), or a tuple of
    them, one for each axis: X[:, :-1] is `(slice(None), slice(-1))`. What is not chosen has the
    gradient 0, what is chosen several times the sum. Ids have no gradient. Raises InputError for
    another index, such as a mask, and for anything but an array, DimensionError for an index beyond
    its end.

    Example:
        >>> import numpy as np
        >>> array_getitem((slice(None), -1)).predict(np.array([[1, 2], [3, 4]]))
        array([2, 4])
    """
    for each in index if isinstance(index, tuple) else (index,):
        numbers = np.asarray(each)
        if not isinstance(each, slice) and numbers.size and numbers.dtype.kind not in "iu":
            raise InputError(f"array_getitem takes ints, slices and lists of ints, not {each!r}")
    return Model("array_getitem", _array_getitem, attrs={"index": index})


def _array_getitem(model: Model[Any, Any], X: Array, run: Run) -> Any:
    if not run.ops.is_array(X):
        raise InputError(f"array_getitem takes an array, not {describe(X)}")
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
    """Raise DimensionError for what NumPy would refuse, and a GPU would read from elsewhere."""
    fits = len(axes) <= X.ndim and all(
        isinstance(each, slice) or ((np.asarray(each) >= -n) & (np.asarray(each) < n)).all()
        for each, n in zip(axes, X.shape, strict=False)
    )
    if not fits:
        raise DimensionError(f"array_getitem finds no {axes} in {describe(X)}")

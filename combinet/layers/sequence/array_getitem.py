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
    for part in index if isinstance(index, tuple) else (index,):
        numbers = np.asarray(part)
        if not isinstance(part, slice) and numbers.size and numbers.dtype.kind not in "iu":
            raise InputError(f"array_getitem takes ints, slices and lists of ints, not {part!r}")
    return Model("array_getitem", _array_getitem, attrs={"index": index})


def _array_getitem(model: Model[Any, Any], X: Array, run: Run) -> Any:
    if not run.ops.is_array(X):
        raise InputError(f"array_getitem takes an array, not {describe(X)}")
    given = model.attrs["index"]
    parts = given if isinstance(given, tuple) else (given,)
    basic = all(isinstance(part, int | np.integer | slice) for part in parts)
    _check(parts, X)
    index: Any = tuple(
        part if isinstance(part, int | np.integer | slice) else run.ops.asarray(part, "int64")
        for part in parts
    )
    shape, dtype = X.shape, X.dtype

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


def _check(parts: tuple[Any, ...], X: Array) -> None:
    """Raise DimensionError for what NumPy would refuse, and a GPU would read from elsewhere."""
    fits = len(parts) <= X.ndim and all(
        isinstance(part, slice) or ((np.asarray(part) >= -n) & (np.asarray(part) < n)).all()
        for part, n in zip(parts, X.shape, strict=False)
    )
    if not fits:
        raise DimensionError(f"array_getitem finds no {parts} in {describe(X)}")

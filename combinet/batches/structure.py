"""The structure of a batch: its arrays, shapes and widths, and that its gradient has the same."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from combinet.batches.padded import Padded, given_lengths, same_sequences
from combinet.batches.ragged import Ragged
from combinet.errors import CombinetError, DimensionError, InputError, describe
from combinet.ops.base import Ops
from combinet.types import Shape, is_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


T = TypeVar("T")


def rebuild(X: T, items: list[Any]) -> T:
    """Items as a list or tuple of the class of X: a named tuple takes them one by one."""
    form: Any = type(X)
    return form(*items) if hasattr(X, "_fields") else form(items)  # type: ignore[no-any-return]


def map_arrays(X: T, function: Callable[[Any], Any]) -> T:
    """A batch of the same form with `function` applied to each array of its data."""
    if isinstance(X, list | tuple):
        return rebuild(X, [map_arrays(x, function) for x in X])
    if isinstance(X, Ragged):
        return Ragged.unchecked(function(X.data), X.lengths)  # type: ignore[return-value]
    if isinstance(X, Padded):
        data = function(X.data)
        return Padded.unchecked(data, X.size_at_t, X.lengths, X.indices)  # type: ignore[return-value]
    return X if X is None else function(X)  # pyright: ignore[reportReturnType]


def to_device(X: T, ops: Ops) -> T:
    """A batch (array, list, Ragged, Padded, tuple of them) with its arrays on the device of `ops`.

    Words stay what they are.

    Example:
        >>> import numpy as np
        >>> from combinet import NumpyOps
        >>> to_device([np.zeros(2), np.ones(1)], NumpyOps())
        [array([0., 0.]), array([1.])]
    """
    return map_arrays(X, lambda x: x if isinstance(x, str) else ops.asarray(x))


def shape_of(value: ArrayLike) -> Shape:
    """The shape of an array on any device, or of nested lists of numbers."""
    return tuple(value.shape) if is_array(value) else np.shape(value)


def width_of(X: object) -> int | tuple[Any, ...] | None:
    """The number of columns of a batch of floats; None of anything else, as of ids.

    Of a tuple of batches it is the tuple of theirs. See `combinet.shapes`.
    """
    if isinstance(X, tuple):
        return tuple(width_of(x) for x in X)
    if isinstance(X, list):
        return width_of(X[0]) if X else None
    if isinstance(X, Ragged | Padded):
        return width_of(X.data)
    return int(X.shape[-1]) if is_array(X) and X.dtype.kind == "f" and X.ndim > 1 else None


def get_width(X: object, *, dim: int = -1) -> int:
    """The size of a batch along axis `dim`, its number of columns: array, list, Ragged, Padded.

    Of numbers without columns, such as ids, it is the largest of all plus 1; of an empty list, 0.
    Raises InputError for what has no arrays.

    Example:
        >>> import numpy as np
        >>> get_width([np.zeros((3, 5)), np.zeros((1, 5))]), get_width(np.array([0, 7, 2]))
        (5, 8)
    """
    if isinstance(X, Ragged | Padded):
        return get_width(X.data, dim=dim)
    if isinstance(X, list | tuple):
        return max((get_width(each, dim=dim) for each in X), default=0)
    if not is_array(X):
        raise InputError(f"a width is that of arrays, not of {describe(X)}")
    if X.ndim > 1:
        return int(X.shape[dim])
    return int(X.max()) + 1 if X.size and X.ndim else 0


def match_gradient(Y: object, dY: object) -> object:
    """DY in the dtype of Y if that is of floats, its form and shapes checked.

    `Y` may be the output itself or its `spec_of`. An item of a tuple may have none: None. Raises
    InputError or DimensionError, with the number of the item that is wrong.
    """
    if isinstance(Y, list | tuple):
        if not isinstance(dY, list | tuple) or len(dY) != len(Y):
            raise InputError(f"the gradient of a {describe(Y)} is like it, not {describe(dY)}")
        matched: list[Any] = []
        try:
            for y, d in zip(Y, dY, strict=True):
                none = d is None and isinstance(Y, tuple)
                matched.append(None if none else match_gradient(y, d))
        except CombinetError as error:
            error.message = f"item {len(matched)}: {error.message}"
            raise
        return rebuild(Y, matched)
    if isinstance(Y, Ragged | Padded):
        if not isinstance(dY, Ragged | Padded) or type(dY) is not type(Y):
            raise InputError(f"the gradient of {type(Y).__name__} is one too, not {describe(dY)}")
        if not same_sequences(Y, dY):
            raise DimensionError(
                f"the gradient's sequences have the lengths {given_lengths(dY).tolist()}, the "
                f"output's {given_lengths(Y).tolist()}"
            )
        data = match_gradient(Y.data, dY.data)
        return dY if data is dY.data else map_arrays(dY, lambda _: data)
    expected: Any = Y.array_type if isinstance(Y, ArraySpec) else type(Y)
    if not is_array(Y):
        return dY
    if not isinstance(dY, expected) or not is_array(dY) or dY.dtype.kind != "f":
        raise InputError(
            f"the gradient of {describe(Y)} is a float {expected.__module__} {expected.__name__}, "
            f"not {describe(dY)}"
        )
    if tuple(dY.shape) != tuple(Y.shape):
        raise DimensionError(f"the gradient of {describe(Y)} has its shape, not {describe(dY)}")
    return dY if dY.dtype == Y.dtype or Y.dtype.kind != "f" else dY.astype(Y.dtype)


class ArraySpec(SimpleNamespace):
    """What is left of an array when its numbers are gone: its shape, dtype and array_type."""


def spec_of(Y: object) -> object:
    """The form of a batch without its numbers, so that nobody keeps those for the form's sake."""
    return map_arrays(Y, _spec_of_array)


def _spec_of_array(y: Any) -> Any:
    return ArraySpec(shape=y.shape, dtype=y.dtype, array_type=type(y)) if hasattr(y, "dtype") else y

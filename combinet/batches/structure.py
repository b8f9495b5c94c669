"""The structure of a batch: its arrays, shapes and widths, and the check of its gradient."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from combinet.batches.levels import has_levels
from combinet.batches.padded import Padded, given_lengths, same_sequences
from combinet.batches.ragged import Ragged
from combinet.errors import CombinetError, DimensionError, InputError, conversion_hint, describe
from combinet.ops.base import Ops
from combinet.types import ArrayLike, Shape, is_array

T = TypeVar("T")


def rebuild(X: T, items: list[Any]) -> T:
    """Returns items as a list or tuple of the class of X, which may be a named tuple."""
    form: Any = type(X)
    return form(*items) if hasattr(X, "_fields") else form(items)  # type: ignore[no-any-return]


def map_arrays(X: T, function: Callable[[Any], Any]) -> T:
    """Returns a batch of the same structure with `function` applied to each array of data."""
    if isinstance(X, list | tuple):
        return rebuild(X, [map_arrays(x, function) for x in X])
    if isinstance(X, Ragged):
        inner = isinstance(X.data, Ragged)
        data = map_arrays(X.data, function) if inner else function(X.data)
        return Ragged.unchecked(data, X.lengths)  # type: ignore[return-value]
    if isinstance(X, Padded):
        data = function(X.data)
        return Padded.unchecked(data, X.size_at_t, X.lengths, X.indices)  # type: ignore[return-value]
    return X if X is None else function(X)  # pyright: ignore[reportReturnType]


def to_device(X: T, ops: Ops) -> T:
    """Returns a batch with its arrays on the device of `ops`. Strings stay as they are.

    Args:
        X: An array, list, Ragged, Padded, or tuple of batches.
        ops: The Ops of the device, such as `CupyOps(0)`.

    Example:
        >>> import numpy as np
        >>> from combinet import NumpyOps
        >>> to_device([np.zeros(2), np.ones(1)], NumpyOps())
        [array([0., 0.]), array([1.])]
    """
    return map_arrays(X, lambda x: x if isinstance(x, str) else ops.asarray(x))


def shape_of(value: ArrayLike) -> Shape:
    """Returns the shape of an array on any device, or of nested lists of numbers."""
    return tuple(value.shape) if is_array(value) else np.shape(value)


def width_of(X: object) -> int | tuple[Any, ...] | None:
    """Returns the number of columns of a batch of floats, and None for other batches, such as ids.

    For a tuple of batches it returns the tuple of their widths. See `combinet.shapes`.
    """
    if isinstance(X, tuple):
        return tuple(width_of(x) for x in X)
    if isinstance(X, list):
        if has_levels(X):  # the first items may be empty
            return next((width for x in X if (width := width_of(x)) is not None), None)
        return width_of(X[0]) if X else None
    if isinstance(X, Ragged | Padded):
        return width_of(X.data)
    return (
        int(X.shape[-1])
        if is_array(X) and getattr(X.dtype, "kind", "") == "f" and X.ndim > 1
        else None
    )


def get_width(X: object, *, dim: int = -1) -> int:
    """Returns the size of a batch along an axis, by default its number of columns.

    For numbers without columns, such as ids, returns the largest number plus 1. For an empty batch
    of them, or an empty list, returns 0. For a list or tuple, returns the largest size of an item.

    Args:
        X: An array, list, Ragged, Padded, or tuple of batches.
        dim: The axis. Arrays with a single axis ignore it.

    Raises:
        InputError: If X does not consist of arrays.

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
        raise InputError(f"get_width expected a batch of arrays, got {describe(X)}")
    if X.ndim > 1:
        return int(X.shape[dim])
    return int(X.max()) + 1 if X.size and X.ndim else 0


def match_gradient(Y: object, dY: object) -> object:
    """Checks that dY has the structure and shapes of Y. Returns dY in Y's dtype if Y has floats.

    `Y` is an output or its `spec_of`. In a tuple, dY may be None for an item without a gradient.
    Raises InputError or DimensionError, with the number of the item that is wrong.
    """
    if isinstance(Y, list | tuple):
        if not isinstance(dY, list | tuple) or len(dY) != len(Y):
            raise InputError(f"expected a gradient like the {describe(Y)}, got {describe(dY)}")
        matched: list[Any] = []
        try:
            for y, d in zip(Y, dY, strict=True):
                matched.append(d if d is None and isinstance(Y, tuple) else match_gradient(y, d))
        except CombinetError as error:
            error.message = f"item {len(matched)}: {error.message}"
            raise
        return rebuild(Y, matched)
    if isinstance(Y, Ragged | Padded):
        if not isinstance(dY, Ragged | Padded) or type(dY) is not type(Y):
            raise InputError(f"expected a {type(Y).__name__} gradient, got {describe(dY)}")
        if not same_sequences(Y, dY):
            raise DimensionError(
                f"expected a gradient of sequence lengths {given_lengths(Y).tolist()!s:.200}, "
                f"got {given_lengths(dY).tolist()!s:.200}"
            )
        data: Any = match_gradient(Y.data, dY.data)
        if data is dY.data:
            return dY
        is_ragged = isinstance(dY, Ragged)
        return Ragged.unchecked(data, dY.lengths) if is_ragged else map_arrays(dY, lambda _: data)
    expected: Any = Y.array_type if isinstance(Y, ArraySpec) else type(Y)
    expected = np.ndarray if issubclass(expected, np.ndarray) else expected  # such as np.memmap
    if not is_array(Y):
        return dY
    if not isinstance(dY, expected) or not is_array(dY) or dY.dtype.kind != "f":
        raise InputError(
            f"expected a float {expected.__module__} {expected.__name__} as gradient of "
            f"{describe(Y)}, got {describe(dY)}{conversion_hint(dY)}"
        )
    if tuple(dY.shape) != tuple(Y.shape):
        raise DimensionError(f"expected a gradient shaped like {describe(Y)}, got {describe(dY)}")
    return dY if dY.dtype == Y.dtype or Y.dtype.kind != "f" else dY.astype(Y.dtype)


class ArraySpec(SimpleNamespace):
    """The shape, dtype and array_type of an array, without its numbers."""


def spec_of(Y: object) -> object:
    """Returns the structure of a batch without its numbers, so that their memory can be freed."""
    return map_arrays(Y, _spec_of_array)


def _spec_of_array(y: Any) -> Any:
    return ArraySpec(shape=y.shape, dtype=y.dtype, array_type=type(y)) if hasattr(y, "dtype") else y

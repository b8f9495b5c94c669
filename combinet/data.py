"""Batches of sequences of unequal lengths: a list of arrays, `Ragged`, `Padded`.

The three hold the same thing and are indexed alike: `batch[i]`, `batch[2:5]`, `batch[::-1]` select
sequences, in the order in which they were given. Lengths lie on the host, as NumPy arrays, also
where the data lies on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from combinet.errors import CombinetError, DimensionError, InputError, describe
from combinet.ops import Ops, get_array_ops
from combinet.ops.sequence import owners, positions, starts
from combinet.types import Array, Ints1d, Shape, is_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MANY = 8  # arrays, from which on sets are quicker
T = TypeVar("T")
Numbers: TypeAlias = "Sequence[int] | Ints1d"
Index: TypeAlias = "int | slice | Sequence[int] | Ints1d"


def _select(n: int, index: Index) -> Ints1d:
    """The numbers that an index names among n sequences; an int counts as a list of one."""
    if isinstance(index, int | np.integer):
        if not -n <= index < n:
            raise IndexError(f"there is no sequence {index} among {n}")
        return np.arange(n)[[index]]
    if not isinstance(index, slice):
        index = np.asarray(index)
        index = index if index.size else index.astype("int64")  # to NumPy, [] holds floats
        if index.ndim != 1:
            raise IndexError(f"sequences are selected by a flat list, not by {describe(index)}")
    chosen: Ints1d = np.arange(n)[index]
    return chosen


def _integers(name: str, values: Any) -> Ints1d:
    """An int64 array (n,), so that no fraction is cut off."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # of a GPU; lists of several lengths
        raise InputError(f"{name} are integers on the host, not {describe(values)}") from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} are a row of integers, not {describe(array)}")
    return array.astype("int64", copy=False)


def _check_data(takes: str, data: Any, axes: int) -> None:
    if not hasattr(data, "dtype") or data.ndim < axes:
        raise InputError(f"{takes}, not {describe(data)}")


class Ragged:
    """Sequences one after the other: `data` (total, ...) and `lengths` (sequences,).

    `ragged[i]` is a Ragged of one sequence, `ragged[i:j]` of several, negative indices, steps and
    lists of indices included; a run of neighbours is a view of the data, anything else a copy.
    Raises DimensionError if the lengths don't add up to the rows of the data, InputError if the
    data is no array or the lengths are no integers.

    Example:
        >>> import numpy as np
        >>> batch = Ragged(np.array([1, 2, 3, 4, 5, 6]), [3, 0, 2, 1])
        >>> batch[2].data, batch[::-1].data, batch[-2:].lengths
        (array([4, 5]), array([6, 4, 5, 1, 2, 3]), array([2, 1]))
    """

    __slots__ = ("data", "lengths")

    def __init__(self, data: Array, lengths: Numbers) -> None:
        _check_data("Ragged takes an array (total, ...)", data, axes=1)
        self.data = data
        self.lengths = lengths = _integers("lengths", lengths)
        if (lengths < 0).any() or lengths.sum() != len(data):
            raise DimensionError(
                f"Ragged takes lengths, none below 0, that add up to the {len(data)} rows of "
                f"its data, not {describe(lengths)} that adds up to {lengths.sum()}"
            )

    @classmethod
    def known(cls, data: Array, lengths: Ints1d) -> Ragged:
        """A Ragged of what is known to fit: nothing is checked."""
        ragged = cls.__new__(cls)
        ragged.data, ragged.lengths = data, lengths
        return ragged

    def __repr__(self) -> str:
        return f"Ragged({self.data!r}, {self.lengths!r})"

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Index) -> Ragged:
        chosen = _select(len(self), index)
        lengths, begin = self.lengths[chosen], starts(self.lengths)[chosen]
        if len(chosen) and (np.diff(chosen) == 1).all():
            return Ragged(self.data[begin[0] : begin[0] + lengths.sum()], lengths)
        rows = np.repeat(begin, lengths) + positions(lengths)
        return Ragged(get_array_ops(self.data).unpad(self.data, rows), lengths)


class Padded:
    """Sequences side by side, longest first: `data` (longest, sequences, ...), zeros at the ends.

    `lengths` (sequences,) falls; `indices` (sequences,) says which of the sequences given each
    column is; `size_at_t` (longest,) is the number of sequences that have a row t, so that
    `data[t, :size_at_t[t]]` is all that is real of that step.

    `padded[i]` and `padded[i:j]` select among the sequences as they were given, not among the
    columns: `padded2list()(padded[i:j])` is `padded2list()(padded)[i:j]`.

    All batches of the same lengths lie alike: of equally long sequences the one given first comes
    first, and there is no row beyond the longest. What is handed in otherwise is brought to that,
    in a copy, so that `data` and `indices` belong together as they are read from the Padded. Raises
    DimensionError or InputError if the parts don't fit each other.

    Example:
        >>> import numpy as np
        >>> padded = ragged_to_padded(Ragged(np.array([1, 2, 3, 4, 5]), [2, 3]))
        >>> padded.data.T.tolist(), padded.size_at_t.tolist(), padded[0].data.T.tolist()
        ([[3, 4, 5], [1, 2, 0]], [2, 2, 1], [[1, 2]])
    """

    __slots__ = ("data", "indices", "lengths", "size_at_t")

    def __init__(self, data: Array, size_at_t: Numbers, lengths: Numbers, indices: Numbers) -> None:
        _check_data("Padded takes an array (longest, sequences, ...)", data, axes=2)
        sizes = _integers("size_at_t", size_at_t)
        lengths, indices = _integers("lengths", lengths), _integers("indices", indices)
        n, steps, longest = len(lengths), data.shape[0], int(lengths.max(initial=0))
        fits = data.shape[1] == n and longest <= steps and lengths.min(initial=0) >= 0
        if not fits or (np.diff(lengths) > 0).any():
            raise DimensionError(
                f"Padded takes data (longest, sequences, ...) and lengths that fall, none below 0, "
                f"not {describe(data)} with the lengths {lengths.tolist()}"
            )
        expected = _sizes(lengths, steps)
        if not np.array_equal(sizes, expected) or sorted(indices) != list(range(n)):
            raise DimensionError(
                f"Padded takes size_at_t, which is {expected.tolist()} for these lengths, and "
                f"indices that are a permutation of {n}, not {sizes.tolist()} and "
                f"{indices.tolist()}"
            )
        order = np.lexsort((indices, -lengths))
        self.data = ordered_columns(data[:longest], order)
        self.size_at_t, self.lengths, self.indices = sizes[:longest], lengths, indices[order]

    @classmethod
    def known(cls, data: Array, size_at_t: Ints1d, lengths: Ints1d, indices: Ints1d) -> Padded:
        """A Padded of what is known to fit: nothing is checked."""
        padded = cls.__new__(cls)
        padded.data, padded.size_at_t = data, size_at_t
        padded.lengths, padded.indices = lengths, indices
        return padded

    def __repr__(self) -> str:
        rest = f"{self.size_at_t!r}, {self.lengths!r}, {self.indices!r}"
        return f"Padded({self.data!r}, {rest})"

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Index) -> Padded:
        ragged = padded_to_ragged(self)
        return ragged_to_padded(ragged[index])


def ordered_columns(data: Array, order: Ints1d) -> Array:
    """Padded data with its columns in another order; itself, if that is their own."""
    longest, n = data.shape[:2]
    if np.array_equal(order, np.arange(n)):
        return data
    rows = (np.arange(longest)[:, None] * n + order).ravel()
    flat = data.reshape(longest * n, *data.shape[2:])
    ordered: Array = get_array_ops(data).unpad(flat, rows).reshape(data.shape)
    return ordered


def _sizes(lengths: Ints1d, steps: int) -> Ints1d:
    """For each step, how many of the sequences, whose lengths fall, have a row there."""
    return np.searchsorted(-lengths, -np.arange(steps))


def _slots(lengths: Ints1d, indices: Ints1d) -> Ints1d:
    """For each row of the flat data, the row of the padded one, (longest * sequences)."""
    column = np.empty_like(indices)
    column[indices] = np.arange(len(indices))
    return positions(lengths) * len(lengths) + column[owners(lengths)]


def given_lengths(X: Ragged | Padded) -> Ints1d:
    """The lengths of the sequences in the order in which they were given."""
    if isinstance(X, Ragged):
        return X.lengths
    lengths: Ints1d = np.empty_like(X.lengths)
    lengths[X.indices] = X.lengths
    return lengths


def same_sequences(X: Ragged | Padded, Y: Ragged | Padded) -> bool:
    """Whether the rows of two Ragged, or of two Padded, are divided into sequences alike."""
    if isinstance(X, Padded) and isinstance(Y, Padded) and not _are_equal(X.indices, Y.indices):
        return False
    return _are_equal(X.lengths, Y.lengths)


def _are_equal(a: Ints1d, b: Ints1d) -> bool:
    return a is b or np.array_equal(a, b)  # most batches have it from one that they come from


def ragged_to_padded(X: Ragged) -> Padded:
    """The same sequences, padded."""
    if len(X) == 1:
        ones, first = np.ones(len(X.data), "int64"), np.zeros(1, "int64")
        return Padded.known(X.data[:, None], ones, X.lengths, first)
    indices = np.argsort(-X.lengths, kind="stable")
    ordered = X.lengths[indices]
    longest, n = int(ordered.max(initial=0)), len(ordered)
    ops = get_array_ops(X.data)
    data = ops.pad(X.data, _slots(X.lengths, indices), longest * n)
    data = data.reshape(longest, n, *X.data.shape[1:])
    return Padded.known(data, _sizes(ordered, longest), ordered, indices)


def padded_to_ragged(X: Padded) -> Ragged:
    """The same sequences one after the other, in the order in which they were given."""
    if len(X) == 1 and X.data.shape[0] == X.lengths[0]:
        return Ragged.known(X.data[:, 0], X.lengths)
    lengths = given_lengths(X)
    flat = X.data.reshape(-1, *X.data.shape[2:])
    data = get_array_ops(X.data).unpad(flat, _slots(lengths, X.indices))
    return Ragged.known(data, lengths)


def list_to_ragged(X: Sequence[Array]) -> Ragged:
    """The arrays of a list, one after the other. Raises InputError for an empty list."""
    if not isinstance(X, list | tuple) or len(X) < 2 or len({*map(type, X)}) > 1:
        check_list(X)
    if not X:
        raise InputError("an empty list has no width: at least one array is needed")
    try:
        data = X[0] if len(X) == 1 else get_array_ops(X[0]).join(X)
    except (AttributeError, TypeError, ValueError):
        check_list(X)  # it knows what is wrong with them
        raise
    return Ragged.known(data, np.fromiter(map(len, X), "int64", len(X)))


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


def like(X: T, items: list[Any]) -> T:
    """Items as a list or tuple of the class of X: a named tuple takes them one by one."""
    form: Any = type(X)
    return form(*items) if hasattr(X, "_fields") else form(items)  # type: ignore[no-any-return]


def map_arrays(X: T, function: Callable[[Any], Any]) -> T:
    """A batch of the same form with `function` applied to each array of its data."""
    if isinstance(X, list | tuple):
        return like(X, [map_arrays(x, function) for x in X])
    if isinstance(X, Ragged):
        return Ragged.known(function(X.data), X.lengths)  # type: ignore[return-value]
    if isinstance(X, Padded):
        data = function(X.data)
        return Padded.known(data, X.size_at_t, X.lengths, X.indices)  # type: ignore[return-value]
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


def match_gradient(Y: object, dY: object) -> object:
    """DY in the dtype of Y if that is of floats, its form and shapes checked.

    `Y` may be the output itself or its `outline`. An item of a tuple may have none: None. Raises
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
        return like(Y, matched)
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
    kind: Any = Y.kind if isinstance(Y, Outline) else type(Y)
    if not is_array(Y):
        return dY
    if not isinstance(dY, kind) or not is_array(dY) or dY.dtype.kind != "f":
        raise InputError(
            f"the gradient of a {describe(Y)} is a float {kind.__module__} {kind.__name__}, "
            f"not {describe(dY)}"
        )
    if tuple(dY.shape) != tuple(Y.shape):
        raise DimensionError(f"the gradient of {describe(Y)} has its shape, not {describe(dY)}")
    return dY if dY.dtype == Y.dtype or Y.dtype.kind != "f" else dY.astype(Y.dtype)


class Outline:
    """What is left of an array when its numbers are gone: enough to check a gradient by."""

    __slots__ = ("dtype", "kind", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], kind: type) -> None:
        self.shape = shape
        self.dtype = dtype
        self.kind = kind

    def __len__(self) -> int:
        return self.shape[0]


def outline(Y: object) -> object:
    """The form of a batch without its numbers, so that nobody keeps those for the form's sake."""
    return map_arrays(
        Y, lambda y: Outline(tuple(y.shape), y.dtype, type(y)) if hasattr(y, "dtype") else y
    )

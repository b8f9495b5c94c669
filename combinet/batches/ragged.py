"""Ragged: sequences of unequal lengths, one after the other in one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.sequence import offsets, positions
from combinet.types import Array, Ints1d

Numbers: TypeAlias = "Sequence[int] | Ints1d"
Index: TypeAlias = "int | slice | Sequence[int] | Ints1d"


def _select(n: int, index: Index) -> Ints1d:
    """The numbers that an index names among n sequences; an int counts as a list of one."""
    if not isinstance(index, slice):
        index = np.atleast_1d(index)
        index = index if index.size else index.astype("int64")  # to NumPy, [] holds floats
        if index.ndim != 1:
            raise IndexError(f"sequences are selected by a flat list, not by {describe(index)}")
    return np.arange(n)[index]


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
    def unchecked(cls, data: Array, lengths: Ints1d) -> Ragged:
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
        lengths, begin = self.lengths[chosen], offsets(self.lengths)[chosen]
        if len(chosen) and (np.diff(chosen) == 1).all():
            return Ragged(self.data[begin[0] : begin[0] + lengths.sum()], lengths)
        rows = np.repeat(begin, lengths) + positions(lengths)
        return Ragged(get_array_ops(self.data).take_rows(self.data, rows), lengths)

"""Ragged: sequences of different lengths, concatenated in one array."""

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
    """Returns the numbers of the sequences that an index selects. An int selects one sequence."""
    if not isinstance(index, slice):
        index = np.atleast_1d(index)
        index = index if index.size else index.astype("int64")  # NumPy makes [] an array of floats
        if index.ndim != 1:
            raise IndexError(f"expected a flat list of sequence numbers, got {describe(index)}")
    return np.arange(n)[index]


def _integers(name: str, values: Any) -> Ints1d:
    """Returns values as an int64 array (n,). Raises InputError instead of rounding fractions."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # arrays on a GPU, nested lists of different lengths
        raise InputError(f"{name} expected integers on the host, got {describe(values)}") from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} expected integers (n,), got {describe(array)}")
    return array.astype("int64", copy=False)


def _check_data(expected: str, data: Any, axes: int) -> None:
    if not hasattr(data, "dtype") or data.ndim < axes:
        raise InputError(f"{expected}, got {describe(data)}")


class Ragged:
    """Sequences of different lengths, concatenated in one array of rows.

    The data can be Ragged, too. Then each of its sequences is an item: documents of sentences are
    `Ragged(Ragged(words, words_in_sentence), sentences_in_document)`, and so on to any depth.

    `ragged[i]` returns a Ragged of one sequence, and `ragged[i:j]` one of several. Negative
    indices, slices with steps and lists of indices work too. A selection of neighboring sequences
    is a view of the data; any other selection is a copy.

    Args:
        data: The rows of all sequences, an array (total, ...), or the items of all sequences, a
            Ragged.
        lengths: Number of rows or items of each sequence (sequences,), integers on the host.

    Raises:
        DimensionError: If the lengths do not add up to the number of rows.
        InputError: If data is not an array or Ragged, or lengths are not integers.

    Example:
        >>> import numpy as np
        >>> batch = Ragged(np.array([1, 2, 3, 4, 5, 6]), [3, 0, 2, 1])
        >>> batch[2].data, batch[::-1].data, batch[-2:].lengths
        (array([4, 5]), array([6, 4, 5, 1, 2, 3]), array([2, 1]))
        >>> docs = Ragged(batch, [3, 1])  # a document of three sentences and one of one sentence
        >>> docs[1].data.lengths, docs.rows is batch.data
        (array([1]), True)
    """

    __slots__ = ("data", "lengths")

    def __init__(self, data: Array | Ragged, lengths: Numbers) -> None:
        if not isinstance(data, Ragged):
            _check_data("Ragged expected an array (total, ...) or Ragged", data, axes=1)
        self.data: Any
        self.data = data
        self.lengths = lengths = _integers("lengths", lengths)
        if (lengths < 0).any() or lengths.sum() != len(data):
            raise DimensionError(
                f"Ragged expected lengths of at least 0 that add up to {len(data)} rows of data, "
                f"got {describe(lengths)} with the sum {lengths.sum()}"
            )

    @classmethod
    def unchecked(cls, data: Array | Ragged, lengths: Ints1d) -> Ragged:
        """Returns a Ragged without checking the arguments.

        Args:
            data: The rows of all sequences, an array (total, ...), or their items, a Ragged.
            lengths: Number of rows of each sequence, an int64 array (sequences,).
        """
        ragged = cls.__new__(cls)
        ragged.data, ragged.lengths = data, lengths
        return ragged

    @property
    def rows(self) -> Array:
        """The rows of the innermost level, an array (total, ...).

        Example:
            >>> import numpy as np
            >>> Ragged(Ragged(np.array([1, 2, 3]), [2, 1]), [1, 1]).rows
            array([1, 2, 3])
        """
        data: Any = self.data
        return data.rows if isinstance(data, Ragged) else data

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
        if isinstance(self.data, Ragged):
            return Ragged(self.data[rows], lengths)
        return Ragged(get_array_ops(self.data).take_rows(self.data, rows), lengths)

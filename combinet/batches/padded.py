"""Padded: sequences of different lengths as columns of one array, and its conversions."""

from __future__ import annotations

import numpy as np

from combinet.batches.ragged import Index, Numbers, Ragged, _check_data, _integers
from combinet.errors import DimensionError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.sequence import positions, segment_ids
from combinet.types import Array, Ints1d


class Padded:
    """Sequences as columns of one array (longest, sequences, ...), longest first, zero-padded.

    `padded[i]` and `padded[i:j]` return a Padded of some sequences. They count sequences in the
    original order, not columns: `padded2list()(padded[i:j])` equals `padded2list()(padded)[i:j]`.

    The same lengths always give the same layout: sequences of equal length keep their original
    order, and `data` has no row beyond the longest. The constructor copies data of another layout
    into this one. Read `data` and `indices` from the Padded, since they may differ from the
    arguments.

    Args:
        data: Array (longest, sequences, ...). Each column is one sequence, followed by zeros.
        size_at_t: Number of sequences with more than t rows, for each t (longest,), so that
            `data[t, :size_at_t[t]]` are the rows of step t.
        lengths: Length of the sequence in each column (sequences,), longest first.
        indices: Number of the sequence in each column (sequences,), in the original order.

    Raises:
        DimensionError: If the arguments do not fit together.
        InputError: If data is not an array with at least 2 axes, or another argument does not hold
            integers on the host.

    Example:
        >>> import numpy as np
        >>> padded = ragged_to_padded(Ragged(np.array([1, 2, 3, 4, 5]), [2, 3]))
        >>> padded.data.T.tolist(), padded.size_at_t.tolist(), padded[0].data.T.tolist()
        ([[3, 4, 5], [1, 2, 0]], [2, 2, 1], [[1, 2]])
    """

    __slots__ = ("data", "indices", "lengths", "size_at_t")

    def __init__(self, data: Array, size_at_t: Numbers, lengths: Numbers, indices: Numbers) -> None:
        _check_data("Padded expected an array (longest, sequences, ...)", data, axes=2)
        sizes = _integers("size_at_t", size_at_t)
        lengths, indices = _integers("lengths", lengths), _integers("indices", indices)
        n, steps, longest = len(lengths), data.shape[0], int(lengths.max(initial=0))
        fits = data.shape[1] == n and longest <= steps and lengths.min(initial=0) >= 0
        if not fits or (np.diff(lengths) > 0).any():
            raise DimensionError(
                f"Padded expected data (longest, sequences, ...) and lengths >= 0, longest first, "
                f"got {describe(data)} and lengths {lengths.tolist()!s:.200}"
            )
        expected = _sizes(lengths, steps)
        if not np.array_equal(sizes, expected) or sorted(indices) != list(range(n)):
            raise DimensionError(
                f"Padded expected size_at_t {expected.tolist()!s:.200} for these lengths and "
                f"indices that are a permutation of {n}, got {sizes.tolist()!s:.200} and "
                f"{indices.tolist()!s:.200}"
            )
        order = np.lexsort((indices, -lengths))
        self.data = ordered_columns(data[:longest], order)
        self.size_at_t, self.lengths, self.indices = sizes[:longest], lengths, indices[order]

    @classmethod
    def unchecked(cls, data: Array, size_at_t: Ints1d, lengths: Ints1d, indices: Ints1d) -> Padded:
        """Returns a Padded without checking the arguments or changing their layout.

        Args:
            data: Array (longest, sequences, ...). Each column is one sequence, followed by zeros.
            size_at_t: Number of sequences with more than t rows, for each t (longest,), so that
                `data[t, :size_at_t[t]]` are the rows of step t.
            lengths: Length of the sequence in each column (sequences,), longest first.
            indices: Number of the sequence in each column (sequences,), in the original order.
        """
        padded = cls.__new__(cls)
        padded.data, padded.size_at_t = data, size_at_t
        padded.lengths, padded.indices = lengths, indices
        return padded

    def __repr__(self) -> str:
        return f"Padded({self.data!r}, {self.size_at_t!r}, {self.lengths!r}, {self.indices!r})"

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Index) -> Padded:
        ragged = padded_to_ragged(self)
        return ragged_to_padded(ragged[index])


def ordered_columns(data: Array, order: Ints1d) -> Array:
    """Returns padded data with its columns in another order, as a copy if the order differs."""
    longest, n = data.shape[:2]
    if np.array_equal(order, np.arange(n)):
        return data
    rows = (np.arange(longest)[:, None] * n + order).ravel()
    flat = data.reshape(longest * n, *data.shape[2:])
    return get_array_ops(data).take_rows(flat, rows).reshape(data.shape)  # type: ignore[no-any-return]


def _sizes(lengths: Ints1d, steps: int) -> Ints1d:
    """Returns the number of sequences that have a row at each step. Lengths are longest first."""
    return np.searchsorted(-lengths, -np.arange(steps))


def _padded_rows(lengths: Ints1d, indices: Ints1d) -> Ints1d:
    """Returns, for each row of the flat data, its row in padded data (longest * sequences, ...)."""
    column = np.empty_like(indices)
    column[indices] = np.arange(len(indices))
    return positions(lengths) * len(lengths) + column[segment_ids(lengths)]


def given_lengths(X: Ragged | Padded) -> Ints1d:
    """Returns the lengths of the sequences in their original order."""
    if isinstance(X, Ragged):
        return X.lengths
    lengths: Ints1d = np.empty_like(X.lengths)
    lengths[X.indices] = X.lengths
    return lengths


def same_sequences(X: Ragged | Padded, Y: Ragged | Padded) -> bool:
    """Returns whether two Ragged, or two Padded, divide their rows into the same sequences."""
    if isinstance(X, Padded) and isinstance(Y, Padded) and not _are_equal(X.indices, Y.indices):
        return False
    return _are_equal(X.lengths, Y.lengths)


def _are_equal(a: Ints1d, b: Ints1d) -> bool:
    return a is b or np.array_equal(a, b)  # `is`: most batches share these arrays


def ragged_to_padded(X: Ragged) -> Padded:
    """Converts a Ragged to Padded."""
    if len(X) == 1:
        ones, first = np.ones(len(X.data), "int64"), np.zeros(1, "int64")
        return Padded.unchecked(X.data[:, None], ones, X.lengths, first)
    indices = np.argsort(-X.lengths, kind="stable")
    ordered = X.lengths[indices]
    longest, n = int(ordered.max(initial=0)), len(ordered)
    ops = get_array_ops(X.data)
    data = ops.scatter_rows(X.data, _padded_rows(X.lengths, indices), longest * n)
    data = data.reshape(longest, n, *X.data.shape[1:])
    return Padded.unchecked(data, _sizes(ordered, longest), ordered, indices)


def padded_to_ragged(X: Padded) -> Ragged:
    """Converts a Padded to Ragged, with the sequences in their original order."""
    if len(X) == 1 and X.data.shape[0] == X.lengths[0]:
        return Ragged.unchecked(X.data[:, 0], X.lengths)
    lengths = given_lengths(X)
    flat = X.data.reshape(-1, *X.data.shape[2:])
    data = get_array_ops(X.data).take_rows(flat, _padded_rows(lengths, X.indices))
    return Ragged.unchecked(data, lengths)

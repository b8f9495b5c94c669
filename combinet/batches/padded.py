"""Padded: sequences of unequal lengths as columns of one array, and its conversions."""

from __future__ import annotations

import numpy as np

from combinet.batches.ragged import Index, Numbers, Ragged, _check_data, _integers
from combinet.errors import DimensionError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.sequence import positions, segment_ids
from combinet.types import Array, Ints1d


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
    def unchecked(cls, data: Array, size_at_t: Ints1d, lengths: Ints1d, indices: Ints1d) -> Padded:
        """A Padded of what is known to fit: nothing is checked."""
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
    """Padded data with its columns in another order; itself, if that is their own."""
    longest, n = data.shape[:2]
    if np.array_equal(order, np.arange(n)):
        return data
    rows = (np.arange(longest)[:, None] * n + order).ravel()
    flat = data.reshape(longest * n, *data.shape[2:])
    return get_array_ops(data).take_rows(flat, rows).reshape(data.shape)  # type: ignore[no-any-return]


def _sizes(lengths: Ints1d, steps: int) -> Ints1d:
    """For each step, how many of the sequences, whose lengths fall, have a row there."""
    return np.searchsorted(-lengths, -np.arange(steps))


def _slots(lengths: Ints1d, indices: Ints1d) -> Ints1d:
    """For each row of the flat data, the row of the padded one, (longest * sequences)."""
    column = np.empty_like(indices)
    column[indices] = np.arange(len(indices))
    return positions(lengths) * len(lengths) + column[segment_ids(lengths)]


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
        return Padded.unchecked(X.data[:, None], ones, X.lengths, first)
    indices = np.argsort(-X.lengths, kind="stable")
    ordered = X.lengths[indices]
    longest, n = int(ordered.max(initial=0)), len(ordered)
    ops = get_array_ops(X.data)
    data = ops.scatter_rows(X.data, _slots(X.lengths, indices), longest * n)
    data = data.reshape(longest, n, *X.data.shape[1:])
    return Padded.unchecked(data, _sizes(ordered, longest), ordered, indices)


def padded_to_ragged(X: Padded) -> Ragged:
    """The same sequences one after the other, in the order in which they were given."""
    if len(X) == 1 and X.data.shape[0] == X.lengths[0]:
        return Ragged.unchecked(X.data[:, 0], X.lengths)
    lengths = given_lengths(X)
    flat = X.data.reshape(-1, *X.data.shape[2:])
    data = get_array_ops(X.data).take_rows(flat, _slots(lengths, X.indices))
    return Ragged.unchecked(data, lengths)

"""Tables of vectors: hashing keys to rows, gathering rows, and scattering gradients to rows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from combinet.ops.sequence import SequenceOps
from combinet.types import Array, Floats2d, Ints, Ints1d, Ints2d

N_HASHES = 4
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)


class EmbedOps(SequenceOps):
    """Part of `Ops`: hashing, and gathering and scattering of the rows of tables."""

    def hash_rows(self, keys: Ints1d, seed: int, nV: int, k: int = N_HASHES) -> Ints2d:
        """Returns k row numbers from 0 to nV - 1 for each key, the same on every device.

        `keys` is (n,) uint64, the result is (n, k) int64. k is even. `seed` is an int; other seeds
        give other rows. Each 64-bit mix of a key gives two 32-bit numbers. A multiplication and a
        shift map each of them to the range below nV.

        Source: Steele, Lea and Flood 2014 (finalizer of splitmix64); Lemire 2019, arXiv:1805.10941,
        without the rejection step.
        """
        rows = self.xp.empty((keys.shape[0], k), dtype="int64")
        for pair, offset in enumerate(seed_offsets(seed, k)):
            mixed = _mix(keys + offset)
            for half, bits in enumerate((mixed & _LOW, mixed >> _HIGH)):
                rows[:, 2 * pair + half] = (bits * np.uint64(nV)) >> _HIGH
        return rows

    def gather_sum(self, E: Floats2d, rows: Ints2d) -> Floats2d:
        """Returns Y with Y[i] = sum of E[rows[i, j]] over j.

        E is (nV, nO), `rows` is (n, k) of ints, and Y is (n, nO).
        """
        Y = self.take_rows(E, rows[:, 0])
        for column in range(1, rows.shape[1]):
            Y += self.take_rows(E, rows[:, column])
        return Y

    def scatter_add(self, E: Floats2d, rows: Ints2d, Y: Floats2d) -> None:
        """Adds Y[i] to E[rows[i, j]] for each i and j, in place. A row may occur many times.

        E is (nV, nO), `rows` is (n, k) of ints, and Y is (n, nO).
        """
        for column in range(rows.shape[1]):
            self.xp.add.at(E, rows[:, column], Y)

    def embed_bag(self, E: Floats2d, ids: Ints1d, lengths: Ints1d, mean: bool) -> Floats2d:
        """Returns the sum, or the mean, of the rows of E that each sequence of ids names.

        E is (nV, nO), `ids` is (total,) of ints, and the result is (len(lengths), nO). If `mean`,
        each sum is divided by the length of its sequence. An empty sequence gives zeros.
        """
        Y = self.reduce_sum(self.take_rows(E, ids), lengths)
        if mean:
            Y *= self.mean_weights(lengths, E.dtype)
        return Y

    def mean_weights(self, lengths: Ints1d, dtype: Any) -> Floats2d:
        """Returns the weight of each row in the mean of its sequence, 1 / max(length, 1).

        The result is an array (len(lengths), 1) of the given `dtype`.
        """
        return self.xp.asarray(1 / np.maximum(lengths, 1)[:, None], dtype=dtype)

    def scatter_bags(self, E: Floats2d, ids: Ints1d, lengths: Ints1d, Y: Floats2d) -> None:
        """Adds Y[i] to each row of E that sequence i of ids names, in place.

        E is (nV, nO), `ids` is (total,) of ints, split by `lengths`, and Y is (len(lengths), nO).
        """
        self.scatter_add(E, ids[:, None], self.repeat_rows(Y, lengths))

    def set_rows(self, E: Floats2d, rows: Ints, Y: Any) -> None:
        """Sets E[rows[i]] = Y[i], in place. Y may also be one number for all these rows.

        E is (nV, nO), `rows` is an array of ints, and Y is an array of rows.
        """
        E[rows] = Y

    def segment_ids_on_device(self, lengths: Ints1d, total: int) -> Ints1d:
        """Returns the sequence number of each of `total` rows, for `lengths` on the device.

        Unlike elsewhere, `lengths` is an array of this backend. `total` is its sum, an int. The
        result is (total,) of ints.
        """
        ends = self.xp.cumsum(lengths)
        return self.xp.searchsorted(ends, self.xp.arange(total), side="right")

    def unique(self, ids: Sequence[Ints]) -> Ints1d:
        """Returns all distinct ids of some arrays, in ascending order.

        `ids` is a sequence of integer arrays of any shape. On a GPU this waits for the device,
        because the size of the result depends on the data.
        """
        return self.xp.unique(self.xp.concatenate([each.reshape(-1) for each in ids]))

    def unique_rows(self, X: Ints2d) -> tuple[Ints1d, Ints1d]:
        """Returns `first` (k,), where each distinct row of X first occurs, and `inverse` (n,).

        X is (n, columns) of ints. X[first][inverse] equals X. On a GPU this waits for the device,
        because k depends on the data.
        """
        n = X.shape[0]
        order: Any = self.xp.lexsort(X.T) if n else self.xp.arange(0)
        new: Any = self.xp.ones(n, dtype=bool)
        ordered: Any = X[order]
        new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        inverse: Any = self.xp.empty(n, dtype="int64")
        inverse[order] = self.xp.cumsum(new) - 1
        return order[new], inverse

    def look_up(self, keys: Ints1d, numbers: Ints1d, X: Ints1d, default: int) -> Ints1d:
        """Returns the number that belongs to each key in X, or `default` for unknown keys.

        `keys` (k,) is in ascending order, and numbers[i] belongs to keys[i]. X is (n,), and the
        result has its shape and the dtype of `numbers`.
        """
        if not keys.shape[0]:
            return self.xp.full(X.shape, default, dtype=numbers.dtype)
        place = self.xp.minimum(self.xp.searchsorted(keys, X), keys.shape[0] - 1)
        return self.xp.where(keys[place] == X, numbers[place], default)


@lru_cache(256)
def seed_offsets(seed: int, k: int) -> Array:
    """Returns the offsets (k // 2,) that are added to a key before each of its mixes."""
    offsets = [(seed * 2 + pair + 1) * 0x9E3779B97F4A7C15 % 2**64 for pair in range(k // 2)]
    return np.array(offsets, "uint64")


def _mix(X: Array) -> Array:
    mixed: Array = (X ^ (X >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

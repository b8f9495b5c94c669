"""Tables of vectors: from keys to rows, from rows to vectors, and gradients back to the rows."""

from __future__ import annotations

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
    """Mixed into `Ops`: hashing, gathering and scattering."""

    def hash_rows(self, keys: Ints1d, seed: int, nV: int, k: int = N_HASHES) -> Ints2d:
        """Rows of a table of nV for each key, (n,) uint64 -> (n, k) int64, alike everywhere.

        Each 64-bit mix (the finalizer of splitmix64: Steele, Lea and Flood 2014) gives two 32-bit
        numbers, so k is even; a multiply and a shift bring each below nV (Lemire 2019,
        arXiv:1805.10941, without his rejection step).
        """
        rows = self.xp.empty((keys.shape[0], k), dtype="int64")
        for pair, offset in enumerate(seed_offsets(seed, k)):
            mixed = _mix(keys + offset)
            for half, bits in enumerate((mixed & _LOW, mixed >> _HIGH)):
                rows[:, 2 * pair + half] = (bits * np.uint64(nV)) >> _HIGH
        return rows

    def gather_sum(self, E: Floats2d, rows: Ints2d) -> Floats2d:
        """The sum of the named rows of E: (nV, nO), (n, k) -> (n, nO)."""
        Y = self.take_rows(E, rows[:, 0])
        for column in range(1, rows.shape[1]):
            Y += self.take_rows(E, rows[:, column])
        return Y

    def scatter_add(self, E: Floats2d, rows: Ints2d, Y: Floats2d) -> None:
        """Add row i of Y to each of the rows rows[i] of E, in place; a row may come often."""
        for column in range(rows.shape[1]):
            self.xp.add.at(E, rows[:, column], Y)

    def embed_bag(self, E: Floats2d, ids: Ints1d, lengths: Ints1d, mean: bool) -> Floats2d:
        """The mean, or the sum, of the rows of E that each sequence names: (total,) -> (n, nO)."""
        Y = self.reduce_sum(self.take_rows(E, ids), lengths)
        if mean:
            Y *= self.mean_weights(lengths, E.dtype)
        return Y

    def mean_weights(self, lengths: Ints1d, dtype: Any) -> Floats2d:
        """What each row of a sequence is of its mean, (n, 1)."""
        return self.xp.asarray(1 / np.maximum(lengths, 1)[:, None], dtype=dtype)

    def scatter_bags(self, E: Floats2d, ids: Ints1d, lengths: Ints1d, Y: Floats2d) -> None:
        """Add row i of Y to each row of E that sequence i names, in place."""
        self.scatter_add(E, ids[:, None], self.repeat_rows(Y, lengths))

    def set_rows(self, E: Floats2d, rows: Ints, Y: Any) -> None:
        """Row i of Y in the place of E[rows[i]], in place; or one number in all of them."""
        E[rows] = Y

    def segment_ids_on_device(self, lengths: Ints1d, total: int) -> Ints1d:
        """For each of `total` entries, the row that it is in, by lengths that lie on the device."""
        ends = self.xp.cumsum(lengths)
        return self.xp.searchsorted(ends, self.xp.arange(total), side="right")

    def unique(self, ids: Sequence[Ints]) -> Ints1d:
        """All ids of some arrays, each once, rising; on a GPU, how many has to be waited for."""
        return self.xp.unique(self.xp.concatenate([each.reshape(-1) for each in ids]))

    def unique_rows(self, X: Ints2d) -> tuple[Ints1d, Ints1d]:
        """Where each distinct row of X first stands, and for each row the number of its equal.

        (n, columns) -> (k,), (n,): X[first][inverse] is X. On a GPU, k has to be waited for.
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
        """The number beside each of X among the keys, which rise; `default` where it is not."""
        if not keys.shape[0]:
            return self.xp.full(X.shape, default, dtype=numbers.dtype)
        place = self.xp.minimum(self.xp.searchsorted(keys, X), keys.shape[0] - 1)
        return self.xp.where(keys[place] == X, numbers[place], default)


@lru_cache(256)
def seed_offsets(seed: int, k: int) -> Array:
    """What a key is moved by before each of the mixes that give k rows."""
    offsets = [(seed * 2 + pair + 1) * 0x9E3779B97F4A7C15 % 2**64 for pair in range(k // 2)]
    return np.array(offsets, "uint64")


def _mix(X: Array) -> Array:
    mixed: Array = (X ^ (X >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

"""Packed sequences: the first rows of all sequences, then all second rows, and so on.

The rows of each step are ordered by the length of their sequence, longest first. Recurrent layers
and conditional random fields compute on packed rows: they gather the rows of a batch once, and
scatter the result once into a batch of the same kind.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from combinet.batches.convert import list_to_ragged
from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays
from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.ops.sequence import time_major_order
from combinet.types import Array, Floats1d, Floats2d

Sequences: TypeAlias = "list[Any] | Ragged | Padded"
CRFOutput: TypeAlias = "tuple[Any, Floats2d, Floats1d, Floats1d]"  # scores, T, start, end


class TimeMajorOrder:
    """The packed order of the rows of one batch. Packs and unpacks rows.

    `sizes[t]` is the number of sequences with more than t rows. `rows` are the indices of the flat
    rows in packed order. It is None if both orders are the same, as for a single sequence. Then
    nothing is copied.
    """

    def __init__(self, X: Sequences, ops: Ops) -> None:
        self.ops = ops
        if isinstance(X, Padded):
            real = np.arange(len(X)) < X.size_at_t[:, None]
            self.sizes, self.total = X.size_at_t, real.size
            rows: Any = np.flatnonzero(real)
        else:
            self.lengths = X.lengths if isinstance(X, Ragged) else np.array([*map(len, X)], "int64")
            rows, self.sizes = time_major_order(self.lengths)
            self.total = len(rows)
        self.structure = None if isinstance(X, list | tuple) else map_arrays(X, lambda _: None)
        self.rows = None if np.array_equal(rows, np.arange(self.total)) else rows

    def flat_rows(self, X: Sequences) -> Array:
        """Returns the flat rows (total, width) of a batch with these sequences."""
        data: Array = (list_to_ragged(X) if isinstance(X, list) else X).data
        return data.reshape(self.total, data.shape[-1])

    def pack(self, flat: Array) -> Array:
        """Returns flat rows in packed order."""
        if self.rows is None:
            return flat
        if flat.flags.c_contiguous:
            return self.ops.take_rows(flat, self.rows)
        # Given a view of some columns, `take_rows` would first copy all rows.
        return self.ops.xp.ascontiguousarray(flat[self.ops.xp.asarray(self.rows)])  # type: ignore[no-any-return]

    def unpack(self, *columns: Array) -> Array:
        """Returns packed rows in flat order, padded with zeros. Joins several arrays by columns."""
        if self.rows is None:
            return join_columns(columns, self.ops)
        new = self.ops.empty if len(self.rows) == self.total else self.ops.zeros
        flat = new((self.total, sum(each.shape[1] for each in columns)), columns[0].dtype)
        rows, begin = self.ops.xp.asarray(self.rows), 0
        for each in columns:
            flat[:, begin : begin + each.shape[1]][rows] = each
            begin += each.shape[1]
        return flat

    def rebuild(self, *columns: Array) -> Sequences:
        """Returns packed rows as a batch of the same kind as the original."""
        flat = self.unpack(*columns)
        if self.structure is None:
            return self.ops.split(flat, self.lengths)
        if isinstance(self.structure, Padded):
            flat = flat.reshape(len(self.sizes), len(self.structure), flat.shape[-1])
        return map_arrays(self.structure, lambda _: flat)


class Packed:
    """Packed rows `data` (total, ...). With `reverse`, layers process sequences from the end."""

    __slots__ = ("data", "order", "reverse")

    def __init__(self, data: Array, order: TimeMajorOrder, reverse: bool = False) -> None:
        self.data, self.order, self.reverse = data, order, reverse

    @classmethod
    def of(cls, X: Sequences | Packed, ops: Ops) -> Packed:
        """Packs the rows of a batch. Returns X itself if it is packed."""
        if isinstance(X, Packed):
            return X
        order = TimeMajorOrder(X, ops)
        return cls(order.pack(order.flat_rows(X)), order)

    def rows_of(self, dY: Sequences | Packed, columns: slice = slice(None)) -> Array:
        """Returns the packed rows, or some columns, of a batch with the same sequences."""
        if isinstance(dY, Packed):
            rows = dY.data[:, columns]
        else:
            rows = self.order.pack(self.order.flat_rows(dY)[:, columns])
        return self.order.ops.xp.ascontiguousarray(rows)  # type: ignore[no-any-return]

    def rebuild(self, X: Sequences | Packed, *columns: Array) -> Sequences | Packed:
        """Returns packed rows, from one or more arrays of columns, as a batch like X."""
        if isinstance(X, Packed):
            return Packed(join_columns(columns, self.order.ops), self.order, self.reverse)
        return self.order.rebuild(*columns)


def pack_scores(name: str, output: object) -> tuple[Floats2d, TimeMajorOrder]:
    """Returns the packed scores of the output of a `CRF`, and their order.

    Raises InputError or DimensionError with `name`, the caller's name, in the message.
    """
    if not isinstance(output, tuple) or len(output) != 4:
        raise InputError(f"{name} expected CRF's tuple of four, got {describe(output)}")
    scores: Any = output[0]
    T: Any = output[1]
    if isinstance(scores, list | tuple) and not scores:
        flat = T[:0]
    else:
        flat = (scores if isinstance(scores, Ragged) else list_to_ragged(scores)).data
    if flat.ndim != 2 or T.shape != (flat.shape[1], flat.shape[1]):
        raise DimensionError(
            f"{name} expected scores with as many labels as the transitions, {describe(T)}, "
            f"got {describe(scores)}"
        )
    order = TimeMajorOrder(output[0], get_array_ops(T))
    return order.pack(flat), order


def join_columns(columns: tuple[Array, ...], ops: Ops) -> Array:
    """Joins arrays of columns into one array."""
    return columns[0] if len(columns) == 1 else ops.concatenate([*columns], -1)

"""Sequences packed in time-major order: the rows of step 0, then those of step 1, longest first.

Recurrent layers compute on packed rows. A list, Ragged or Padded is gathered into them once, and
the result is scattered into the same kind of batch once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from combinet.batches.convert import list_to_ragged
from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays
from combinet.ops.base import Ops
from combinet.ops.sequence import time_major_order
from combinet.types import Array

Sequences: TypeAlias = "list[Any] | Ragged | Padded"


class Layout:
    """How the rows of one batch are packed, and how packed rows become such a batch again."""

    def __init__(self, X: Sequences, ops: Ops) -> None:
        self.ops = ops
        if isinstance(X, Padded):
            real = np.arange(len(X)) < X.size_at_t[:, None]
            self.sizes, self.total = X.size_at_t, real.size
            rows: Any = np.flatnonzero(real)
        else:
            lengths: Any = X.lengths if isinstance(X, Ragged) else np.array([*map(len, X)])
            rows, self.sizes = time_major_order(lengths)
            self.lengths, self.total = lengths, len(rows)
        self.form = None if isinstance(X, list) else map_arrays(X, lambda _: None)
        # Rows that lie in this order already, as those of one sequence, are not copied.
        self.rows = None if np.array_equal(rows, np.arange(self.total)) else rows

    def pack(self, X: Sequences | Packed) -> Array:
        """The packed rows of a batch with this layout."""
        flat = self._flat(X)
        return (
            flat
            if self.rows is None or isinstance(X, Packed)
            else self.ops.take_rows(flat, self.rows)
        )

    def pack_parts(self, X: Sequences | Packed, nO: int) -> tuple[Array, Array]:
        """The packed rows of the first nO columns, and of the others: the opposite of `unpack`."""
        xp, flat = self.ops.xp, self._flat(X)
        parts = flat[:, :nO], flat[:, nO:]
        if self.rows is None or isinstance(X, Packed):
            return xp.ascontiguousarray(parts[0]), xp.ascontiguousarray(parts[1])
        rows = xp.asarray(self.rows)  # not by `unpad`, which copies columns before it gathers rows
        return parts[0][rows], parts[1][rows]

    def join(self, parts: Sequence[Array]) -> Array:
        """The columns of all parts."""
        return parts[0] if len(parts) == 1 else self.ops.concatenate([*parts], -1)

    def _flat(self, X: Any) -> Any:
        data = list_to_ragged(X).data if isinstance(X, list) else X.data
        return data if isinstance(X, Packed) else data.reshape(self.total, data.shape[-1])

    def unpack(self, *parts: Array) -> Sequences:
        """A batch of packed rows; of several parts the columns are concatenated."""
        if self.rows is None:
            data = self.join(parts)
        else:
            new = self.ops.empty if len(self.rows) == self.total else self.ops.zeros
            data = new((self.total, sum(part.shape[1] for part in parts)), parts[0].dtype)
            rows, begin = self.ops.xp.asarray(self.rows), 0
            for part in parts:
                data[:, begin : begin + part.shape[1]][rows] = part
                begin += part.shape[1]
        if self.form is None:
            return self.ops.split(data, self.lengths)
        if isinstance(self.form, Padded):
            data = data.reshape(len(self.sizes), len(self.form), data.shape[-1])
        return map_arrays(self.form, lambda _: data)


class Packed:
    """Packed rows `data` (total, ...). With `reverse`, each sequence is read from its end."""

    __slots__ = ("data", "layout", "reverse")

    def __init__(self, data: Array, layout: Layout, reverse: bool = False) -> None:
        self.data, self.layout, self.reverse = data, layout, reverse

    @classmethod
    def of(cls, X: Sequences | Packed, ops: Ops) -> Packed:
        """The rows of a batch, packed; X itself if it is packed."""
        if isinstance(X, Packed):
            return X
        layout = Layout(X, ops)
        return cls(layout.pack(X), layout)

    def rebuild(self, X: Sequences | Packed, *parts: Array) -> Sequences | Packed:
        """Packed rows, the columns of `parts`, as a batch of the same kind as X."""
        if isinstance(X, Packed):
            return Packed(self.layout.join(parts), self.layout, self.reverse)
        return self.layout.unpack(*parts)

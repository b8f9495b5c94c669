"""The scores and transitions that `CRF` returns, with their rows in time-major order."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.batches.convert import check_list
from combinet.batches.ragged import Ragged
from combinet.batches.structure import T, map_arrays
from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.ops.sequence import time_major_order
from combinet.types import Array, Floats1d, Floats2d, Ints1d

Chain: TypeAlias = "tuple[Any, Floats2d, Floats1d, Floats1d]"  # scores, T, start, end


class PackedChain(NamedTuple):
    """What `CRF` gives, with the rows of all sequences step after step: see `ops/crf.py`."""

    ops: Ops
    X: Floats2d
    rows: Ints1d
    sizes: Ints1d
    lengths: Ints1d

    @classmethod
    def of(cls, name: str, chain: object) -> PackedChain:
        """Raise InputError or DimensionError, in the name of `name`, for anything else."""
        if not isinstance(chain, tuple) or len(chain) != 4:
            raise InputError(f"{name} takes what CRF gives, a tuple of four, not {describe(chain)}")
        scores, T, *_ = chain
        if not isinstance(scores, Ragged):
            check_list(scores)
        ops = get_array_ops(T)
        lengths = scores.lengths if isinstance(scores, Ragged) else np.array([*map(len, scores)])
        lengths = lengths.astype("int64")
        if isinstance(scores, Ragged):
            flat = scores.data
        else:
            flat = ops.concatenate(list(scores)) if len(scores) else T[:0]
        k = T.shape[0]
        if flat.ndim != 2 or flat.shape[1] != k or T.shape != (k, k):
            raise DimensionError(
                f"{name} takes scores of as many labels as there are transitions, "
                f"{describe(T)}, not {describe(scores)}"
            )
        rows, sizes = time_major_order(lengths)
        return cls(ops, ops.take_rows(flat, rows), rows, sizes, lengths)

    def pack(self, flat: Array) -> Array:
        """Rows of sequences one after the other, step after step."""
        return self.ops.take_rows(flat, self.rows)

    def unpack(self, packed: Array) -> Array:
        """The opposite of `pack`."""
        return self.ops.scatter_rows(packed, self.rows, len(self.rows))

    def rebuild(self, batch: T, packed: Array) -> T | list[Any]:
        """Packed rows as a batch of the form of `batch`."""
        flat = self.unpack(packed)
        if isinstance(batch, Ragged):
            return map_arrays(batch, lambda _: flat)
        return self.ops.split(flat, self.lengths)

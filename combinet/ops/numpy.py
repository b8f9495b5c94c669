"""Arrays on the CPU, by NumPy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from combinet.ops.base import Ops
from combinet.ops.sequence import starts
from combinet.types import Array, Floats2d, Ints1d, Ints2d


class NumpyOps(Ops):
    """Array work on the CPU by NumPy alone. See `Ops`."""

    name: ClassVar[str] = "numpy"
    xp = np
    block = 1 << 14  # elements: four float32 arrays of it fit a 256 KB cache

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """X as a NumPy array; one from a GPU is copied to the host."""
        if hasattr(X, "get") and hasattr(X, "device"):
            X = X.get()
        return np.asarray(X, dtype=dtype)

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """As `Ops.reduce_sum`, many times as fast: NumPy's add.at does a row at a time."""
        full = lengths > 0
        if full.all() and len(lengths):
            return np.add.reduceat(X, starts(lengths), axis=0)
        Y = np.zeros((len(lengths), *X.shape[1:]), dtype=X.dtype)
        if full.any():
            Y[full] = np.add.reduceat(X, starts(lengths)[full], axis=0)
        return Y

    def scatter_add(self, E: Floats2d, rows: Ints2d, Y: Floats2d) -> None:
        """As `Ops.scatter_add`: sorted, so that each row of E is written once."""
        if not rows.size:
            return
        flat = rows.reshape(-1)
        order = np.argsort(flat, kind="stable")
        ordered = flat[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        E[ordered[first]] += np.add.reduceat(Y[order // rows.shape[1]], first, axis=0)

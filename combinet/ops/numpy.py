"""Arrays on the CPU, by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import isfinite, prod
from typing import Any, ClassVar

import numpy as np

from combinet.ops.base import Ops
from combinet.ops.blas.product import product
from combinet.ops.blas.threads import BLAS, processors
from combinet.ops.sequence import offsets
from combinet.ops.workspace import SMALL, Workspace
from combinet.types import Array, Floats, Floats1d, Floats2d, Ints1d, Ints2d, Shape

_WORKSPACE = Workspace()
# Fewer numbers are less than SMALL bytes, whatever their dtype; arrays of fewer bytes have more to
# look at than to copy.
_FEW = SMALL // 16
_ROW = 64  # columns, from which on a row is worth a call of its own
_LONG = 16  # rows of a sequence, from which on a product for it is worth its call


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

    def threads(self, wanted: int | None) -> int:
        """As `Ops.threads`: as many as are wanted, or one for each processor."""
        return wanted or processors()

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        """As `Ops.single_threaded_blas`: BLAS's threads wait, in the whole process."""
        return BLAS.single_threaded_blas()

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """As `Ops.empty`; large arrays come from a `Workspace`."""
        count = prod(shape)
        if count < _FEW:
            return np.empty(shape, dtype)
        dtype = np.dtype(dtype)
        size = count * dtype.itemsize
        return np.empty(shape, dtype) if size < SMALL else _WORKSPACE.empty(shape, dtype, size)

    def sum_squares(self, X: Floats1d) -> Floats:
        """As `Ops.sum_squares`; in float64 where float32 overflows."""
        total: Any = np.vdot(X, X)  # where np.dot would warn
        if not isfinite(total):
            wide = X.astype("float64")
            total = np.vdot(wide, wide)
        return total

    def matmul(self, A: Floats2d, B: Floats2d, out: Any) -> Floats2d:
        """As `Ops.matmul`, in tiles."""
        return product(A, B, out)

    def relu(self, X: Floats) -> Floats:
        """As `Ops.relu`: beside an array NumPy goes by vectors, beside a number one by one."""
        if X.ndim == 0 or X.shape[-1] < _ROW:
            return super().relu(X)
        zeros = np.zeros(X.shape[-1], X.dtype)
        return np.maximum(X, zeros, out=self.empty(X.shape, X.dtype))

    def concatenate(self, arrays: list[Any], axis: int = 0) -> Any:
        """As `Ops.concatenate`; of small arrays NumPy's own, which asks each but once."""
        if arrays[0].nbytes < _FEW:
            return np.concatenate(arrays, axis=axis)
        shape = list(arrays[0].shape)
        shape[axis] = sum(array.shape[axis] for array in arrays)
        dtype = np.result_type(*{array.dtype for array in arrays})
        return np.concatenate(arrays, axis=axis, out=self.empty(tuple(shape), dtype))

    def concat_checked(self, arrays: Sequence[Any]) -> Any:
        """As `Ops.concat_checked`; NumPy looks at dtypes and shapes while it copies."""
        dtype = arrays[0].dtype
        if arrays[0].nbytes < _FEW:
            return np.concatenate(arrays, dtype=dtype, casting="no")
        out = self.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), dtype)
        return np.concatenate(arrays, out=out, casting="no")

    def take_rows(self, X: Array, rows: Ints1d) -> Array:
        """As `Ops.take_rows`."""
        Y = self.empty((len(rows), *X.shape[1:]), X.dtype)
        return np.take(X, rows, axis=0, out=Y, mode="clip")  # what "raise" does costs a copy

    def repeat_rows(self, X: Array, lengths: Ints1d) -> Array:
        """As `Ops.repeat_rows`; no number is asked for its sequence."""
        return np.repeat(X, lengths, axis=0)

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """As `Ops.reduce_sum`, many times as fast: NumPy's add.at does a row at a time."""
        if X.ndim == 2 and X.dtype.kind == "f" and len(X) > _LONG * len(lengths):
            return self._sums_of_long_sequences(X, lengths)
        full = lengths > 0
        if full.all() and len(lengths):
            return np.add.reduceat(X, offsets(lengths), axis=0)
        Y = np.zeros((len(lengths), *X.shape[1:]), dtype=X.dtype)
        if full.any():
            Y[full] = np.add.reduceat(X, offsets(lengths)[full], axis=0)
        return Y

    def _sums_of_long_sequences(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """By a product each, which goes through rows faster than NumPy's reduceat."""
        Y = self.empty((len(lengths), X.shape[1]), X.dtype)
        ones = np.ones(int(lengths.max()), X.dtype)
        start = 0
        for y, length in zip(Y, lengths.tolist(), strict=True):
            np.dot(ones[:length], X[start : start + length], out=y)
            start += length
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

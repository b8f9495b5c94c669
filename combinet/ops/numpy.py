"""Array operations on the CPU with NumPy."""

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
# An array with fewer elements than this has fewer than SMALL bytes, because an element has at most
# 16 bytes. The joining methods compare bytes with it: for smaller arrays, computing the result's
# shape and dtype in Python takes longer than the copy.
_FEW = SMALL // 16
_ROW = 64  # columns; for shorter rows, NumPy's cost per row exceeds the gain
_LONG = 16  # mean rows per sequence, above which one product per sequence beats reduceat


class NumpyOps(Ops):
    """Array operations on the CPU with NumPy alone. See `Ops`.

    Models use it by default if Numba is not installed.

    Example:
        >>> import numpy as np
        >>> from combinet import NumpyOps
        >>> NumpyOps().softmax(np.zeros((1, 2)))
        array([[0.5, 0.5]])
    """

    name: ClassVar[str] = "numpy"
    xp = np
    block = 1 << 14  # elements: four float32 arrays of this size fit in a 256 KB cache

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """See `Ops.asarray`. Copies an array on a GPU to the host."""
        if hasattr(X, "get") and hasattr(X, "device"):
            X = X.get()
        return np.asarray(X, dtype=dtype)

    def threads(self, wanted: int | None) -> int:
        """See `Ops.threads`. Returns `wanted`, or the number of processors if it is None."""
        return wanted or processors()

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        """See `Ops.single_threaded_blas`. The limit applies to the whole process."""
        return BLAS.single_threaded_blas()

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """See `Ops.empty`. Large arrays come from a `Workspace`."""
        count = prod(shape)
        if count < _FEW:
            return np.empty(shape, dtype)
        dtype = np.dtype(dtype)
        size = count * dtype.itemsize
        return np.empty(shape, dtype) if size < SMALL else _WORKSPACE.empty(shape, dtype, size)

    def sum_squares(self, X: Floats1d) -> Floats:
        """See `Ops.sum_squares`. Computed in float64 if float32 overflows."""
        total: Any = np.vdot(X, X)  # np.dot would warn about an overflow
        if not isfinite(total):
            wide = X.astype("float64")
            total = np.vdot(wide, wide)
        return total

    def matmul(self, A: Floats2d, B: Floats2d, out: Any) -> Floats2d:
        """See `Ops.matmul`. Computed in tiles where this is faster."""
        return product(A, B, out)

    def relu(self, X: Floats) -> Floats:
        """See `Ops.relu`.

        NumPy vectorizes the maximum of two arrays, but not the maximum of an array and a number.
        """
        if X.ndim == 0 or X.shape[-1] < _ROW:
            return super().relu(X)
        zeros = np.zeros(X.shape[-1], X.dtype)
        return np.maximum(X, zeros, out=self.empty(X.shape, X.dtype))

    def concatenate(self, arrays: list[Any], axis: int = 0) -> Any:
        """See `Ops.concatenate`. Small arrays go to NumPy directly, which checks each only once."""
        if arrays[0].nbytes < _FEW:
            return np.concatenate(arrays, axis=axis)
        shape = list(arrays[0].shape)
        shape[axis] = sum(array.shape[axis] for array in arrays)
        dtype = np.result_type(*{array.dtype for array in arrays})
        return np.concatenate(arrays, axis=axis, out=self.empty(tuple(shape), dtype))

    def concat_checked(self, arrays: Sequence[Any]) -> Any:
        """See `Ops.concat_checked`. NumPy checks dtypes and shapes while it copies."""
        dtype = arrays[0].dtype
        if arrays[0].nbytes < _FEW:
            return np.concatenate(arrays, dtype=dtype, casting="no")
        out = self.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), dtype)
        return np.concatenate(arrays, out=out, casting="no")

    def take_rows(self, X: Array, rows: Ints1d) -> Array:
        """See `Ops.take_rows`."""
        Y = self.empty((len(rows), *X.shape[1:]), X.dtype)
        return np.take(X, rows, axis=0, out=Y, mode="clip")  # "raise" would copy the output

    def repeat_rows(self, X: Array, lengths: Ints1d) -> Array:
        """See `Ops.repeat_rows`. Needs no array of sequence numbers."""
        return np.repeat(X, lengths, axis=0)

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """See `Ops.reduce_sum`. NumPy's add.at adds one row at a time and is many times slower."""
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
        """Sums each sequence by a product with ones, faster than reduceat on long sequences."""
        Y = self.empty((len(lengths), X.shape[1]), X.dtype)
        ones = np.ones(int(lengths.max()), X.dtype)
        start = 0
        for y, length in zip(Y, lengths.tolist(), strict=True):
            np.dot(ones[:length], X[start : start + length], out=y)
            start += length
        return Y

    def scatter_add(self, E: Floats2d, rows: Ints2d, Y: Floats2d) -> None:
        """See `Ops.scatter_add`. Sorts the row numbers, so that each row of E is written once."""
        if not rows.size:
            return
        flat = rows.reshape(-1)
        order = np.argsort(flat, kind="stable")
        ordered = flat[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        E[ordered[first]] += np.add.reduceat(Y[order // rows.shape[1]], first, axis=0)

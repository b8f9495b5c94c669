"""Creating, joining and splitting arrays."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from combinet.types import Array, Shape


class ArrayOps:
    """Base class of all parts of `Ops`: the array module `xp` and functions that create arrays.

    `block` is the number of elements that the CPU processes at once, so that temporaries stay in
    the cache. None, on a GPU, means all elements at once.
    """

    xp: Any
    block: int | None = None

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """Returns X as an array of this backend.

        X is an array on any device, or anything that `numpy.asarray` accepts. `dtype` is the dtype
        of the result; None keeps the dtype of X. Returns X itself if nothing has to change.
        """
        raise NotImplementedError

    def is_array(self, X: object) -> bool:
        """Returns whether X is an array of this backend."""
        return isinstance(X, self.xp.ndarray)

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """Returns a new array of the given `shape` and `dtype` with arbitrary values."""
        return self.xp.empty(shape, dtype=dtype)

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """Returns a new array of zeros of the given `shape` and `dtype`."""
        return self.xp.zeros(shape, dtype=dtype)

    def concatenate(self, arrays: list[Any], axis: int = 0) -> Any:
        """Returns the `arrays` joined along `axis`. Their shapes differ at most along this axis."""
        return self.xp.concatenate(arrays, axis=axis)

    def concat_checked(self, arrays: Sequence[Any]) -> Any:
        """Returns the `arrays` joined along the first axis, after a check of dtypes and shapes.

        Raises:
            ValueError or TypeError: If the arrays differ in dtype, or in any axis but the first.
        """
        if len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
            raise ValueError("expected arrays that differ only in length")
        return self.concatenate([*arrays])

    def split(self, X: Any, lengths: Any) -> list[Any]:
        """Returns views of consecutive rows of X: the first lengths[0], the next lengths[1], ..."""
        ends = accumulate(np.asarray(lengths).tolist(), initial=0)
        return [X[start:stop] for start, stop in pairwise(ends)]

"""Arrays of a backend: made, joined, cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from combinet.types import Array, Shape


class ArrayOps:
    """What all parts of `Ops` are written over: the array module `xp`, and arrays made by it.

    On the CPU `block` is how many elements are worked on at once, so that they stay in the cache.
    """

    xp: Any
    block: int | None = None

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """X as an array of this backend; X itself if it is one, of that dtype."""
        raise NotImplementedError

    def is_array(self, X: object) -> bool:
        """Whether X is an array of this backend."""
        return isinstance(X, self.xp.ndarray)

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """A new array that holds anything."""
        return self.xp.empty(shape, dtype=dtype)

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """A new array of zeros."""
        return self.xp.zeros(shape, dtype=dtype)

    def concatenate(self, arrays: list[Any], axis: int = 0) -> Any:
        """The arrays one after the other, along an axis that they share."""
        return self.xp.concatenate(arrays, axis=axis)

    def concat_checked(self, arrays: Sequence[Any]) -> Any:
        """Arrays that differ in length alone, one after the other.

        Raises ValueError or TypeError for arrays of several dtypes or shapes.
        """
        if len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
            raise ValueError("arrays of several dtypes or shapes")
        return self.concatenate([*arrays])

    def split(self, X: Any, lengths: Any) -> list[Any]:
        """Views of X's rows: the first lengths[0] of them, then lengths[1], and so on."""
        ends = accumulate(np.asarray(lengths).tolist(), initial=0)
        return [X[start:stop] for start, stop in pairwise(ends)]

"""Ops: the object that does all array work of a model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from combinet.ops.activations import ActivationOps
from combinet.ops.attention import AttentionOps
from combinet.ops.convolution import ConvolutionOps
from combinet.ops.crf import CrfOps
from combinet.ops.dense import DenseOps
from combinet.ops.formulas.elementwise import ElementwiseOps
from combinet.ops.update import UpdateOps
from combinet.types import Array, Shape


class Ops(
    ActivationOps,
    AttentionOps,
    ConvolutionOps,
    CrfOps,
    DenseOps,
    ElementwiseOps,
    UpdateOps,
):
    """All array work, over one array module: `NumpyOps` on the CPU, `CupyOps` on a GPU.

    A method is one fused step of a layer, written over `self.xp`; a backend overrides it only
    where it has a faster kernel of its own. `name` says which backend it is, `device` where.

    Example:
        >>> from combinet import NumpyOps
        >>> ops = NumpyOps()
        >>> ops.relu(ops.asarray([-1.0, 2.0]))
        array([0., 2.])
    """

    name: ClassVar[str]
    xp: Any
    device: int = -1
    block: int | None = None

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """X as an array of this backend; X itself if it is one, of that dtype."""
        raise NotImplementedError

    def on_device(self) -> AbstractContextManager[Any]:
        """The context in which this backend's work is done: its device is the current one."""
        return nullcontext()

    def threads(self, wanted: int | None) -> int:
        """How many threads a long piece of work is shared among: one, whatever is wanted."""
        return 1

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        """A context in which this backend's work takes no other thread than the one that asks."""
        return nullcontext()

    def profile_range(self, name: str, color: int = -1) -> AbstractContextManager[Any]:
        """A context that a profiler shows under this name, where the backend has one."""
        return nullcontext()

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
        pieces, start = [], 0
        for length in np.asarray(lengths).tolist():
            pieces.append(X[start : start + length])
            start += length
        return pieces

    def __reduce__(self) -> Any:  # nothing but the device: kernels and workspaces are made anew
        return type(self), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

"""Ops: the object that does all array work of a model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from combinet.ops.activations import ActivationOps
from combinet.ops.attention import AttentionOps
from combinet.ops.convolution import ConvolutionOps
from combinet.ops.crf import CrfOps
from combinet.ops.dense import DenseOps
from combinet.ops.formulas.elementwise import ElementwiseOps
from combinet.ops.update import UpdateOps


class Ops(ActivationOps, AttentionOps, ConvolutionOps, CrfOps, DenseOps, ElementwiseOps, UpdateOps):
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
    device: int = -1

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

    def __reduce__(self) -> Any:  # nothing but the device: kernels and workspaces are made anew
        return type(self), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

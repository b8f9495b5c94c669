"""Ops: the object that computes all array operations of a model."""

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
    """Array operations over one array module: `NumpyOps` on the CPU, `CupyOps` on a GPU.

    Each method is one fused step of a layer or an optimizer, written over `self.xp`. A backend
    overrides a method only if it has a faster kernel.

    The docstrings of the methods use these conventions:

    - Arrays are arrays of this backend. The float arguments of one call have the same dtype, which
      is also the dtype of float results.
    - A method changes an argument only if its docstring says so.
    - `lengths` holds the number of rows of each sequence. It is a NumPy array of ints on the host,
      on all backends. The rows of all sequences follow each other in one array.
    - `saved` is what a forward method returns for its `backprop_` method.

    Attributes:
        name: Name of the backend: "numpy" or "cupy".
        device: Number of the GPU, or -1 for the CPU.
        xp: Array module: `numpy` or `cupy`.

    Example:
        >>> from combinet import NumpyOps
        >>> ops = NumpyOps()
        >>> ops.relu(ops.asarray([-1.0, 2.0]))
        array([0., 2.])
    """

    name: ClassVar[str]
    device: int = -1

    def on_device(self) -> AbstractContextManager[Any]:
        """Returns a context manager that makes this backend's device the current device."""
        return nullcontext()

    def threads(self, wanted: int | None) -> int:
        """Returns the number of threads that share a long computation.

        `wanted` is the requested number, or None for one thread per processor. Backends without
        threads always return 1.
        """
        return 1

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        """Returns a context manager that limits BLAS to one thread. Does nothing on a GPU."""
        return nullcontext()

    def profile_range(self, name: str, color: int = -1) -> AbstractContextManager[Any]:
        """Returns a context manager that marks a range in a profiler. Does nothing on the CPU.

        `name` is the label of the range. `color` is the number of a color in CuPy's palette, or -1
        for the default color.
        """
        return nullcontext()

    def __reduce__(self) -> Any:  # pickles only the device: a copy creates new kernels
        return type(self), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

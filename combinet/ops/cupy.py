"""Array operations on a GPU with CuPy. The first CupyOps imports CuPy."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from combinet.errors import DeviceError
from combinet.ops.base import Ops
from combinet.ops.formulas.cuda_kernels import kernel
from combinet.ops.formulas.program import Program
from combinet.types import Array, Floats

_INSTALL = "pip install 'combinet[cuda12]' (or combinet[cuda13], to match your driver's CUDA)"


class CupyOps(Ops):
    """Array operations on a GPU with CuPy 14. See `Ops`.

    Args:
        device: Number of the GPU, from 0.

    Raises:
        DeviceError: If CuPy is not installed or this GPU does not exist. The message says what to
            install.

    Example:
        >>> from combinet import CupyOps, DeviceError, NumpyOps
        >>> try:
        ...     ops = CupyOps(0)
        ... except DeviceError:
        ...     ops = NumpyOps()
        >>> float(ops.asarray([1.0, 2.0]).sum())
        3.0
    """

    name: ClassVar[str] = "cupy"

    def __init__(self, device: int = 0) -> None:
        try:
            cupy: Any = import_module("cupy")
        except ImportError:
            raise DeviceError(f"CuPy is not installed; run {_INSTALL}") from None
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(f"CuPy found no GPU ({error}); with a GPU, run {_INSTALL}") from None
        if not 0 <= device < count:
            raise DeviceError(f"expected the number of a GPU from 0 to below {count}, got {device}")
        self.xp: Any = cupy
        self.device = device

    def on_device(self) -> AbstractContextManager[Any]:
        """See `Ops.on_device`."""
        return self.xp.cuda.Device(self.device)

    @contextmanager
    def profile_range(self, name: str, color: int = -1) -> Iterator[None]:
        """See `Ops.profile_range`. Marks an NVTX range."""
        self.xp.cuda.nvtx.RangePush(name, color)
        try:
            yield
        finally:
            self.xp.cuda.nvtx.RangePop()

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """See `Ops.asarray`. Copies a NumPy array, or an array on another GPU, to this GPU."""
        if self.is_array(X) and X.device.id == self.device:
            return X if dtype is None or X.dtype == dtype else X.astype(dtype)
        with self.on_device():
            return self.xp.array(X if self.is_array(X) else np.asarray(X), dtype=dtype)

    def run_program(self, program: Program, X: Floats, *outputs: Floats) -> None:
        """See `Ops.run_program`. One CUDA kernel for float32 and float64."""
        if X.dtype.char in "fd":
            kernel(self.xp, program.code)(X, *outputs)
        else:
            super().run_program(program, X, *outputs)

    def __reduce__(self) -> Any:
        return type(self), (self.device,)

    def __repr__(self) -> str:
        return f"CupyOps({self.device})"

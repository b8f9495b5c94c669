"""Arrays on a GPU, by CuPy. CuPy is imported when the first CupyOps is made, never before."""

from __future__ import annotations

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

_INSTALL = "pip install 'combinet[cuda12]' (or combinet[cuda13], by the CUDA of your driver)"


class CupyOps(Ops):
    """Array work on GPU number `device` by CuPy 14. See `Ops`.

    Raises DeviceError, with what to install, where CuPy or the GPU is missing.
    """

    name: ClassVar[str] = "cupy"

    def __init__(self, device: int = 0) -> None:
        try:
            cupy: Any = import_module("cupy")
        except ImportError:
            raise DeviceError(f"CuPy is not installed: {_INSTALL}") from None
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(f"CuPy finds no GPU ({error}); with a GPU: {_INSTALL}") from None
        if not 0 <= device < count:
            raise DeviceError(f"There is no GPU {device}: this machine has {count}, from 0 on")
        self.xp: Any = cupy
        self.device = device

    def on_device(self) -> AbstractContextManager[Any]:
        """The context in which this GPU is the current one."""
        return self.xp.cuda.Device(self.device)

    @contextmanager
    def profile_range(self, name: str, color: int = -1) -> Iterator[None]:
        """An NVTX range of this name."""
        self.xp.cuda.nvtx.RangePush(name, color)
        try:
            yield
        finally:
            self.xp.cuda.nvtx.RangePop()

    def asarray(self, X: Any, dtype: Any = None) -> Array:
        """X as a CuPy array on this device; a NumPy array is copied there."""
        if self.is_array(X) and X.device.id == self.device:
            return X if dtype is None or X.dtype == dtype else X.astype(dtype)
        with self.on_device():
            return self.xp.array(X if self.is_array(X) else np.asarray(X), dtype=dtype)

    def run_program(self, program: Program, X: Floats, *outputs: Floats) -> None:
        """See `Ops.run_program`. One kernel, for float32 and float64."""
        if X.dtype.char in "fd":
            kernel(self.xp, program.code)(X, *outputs)
        else:
            super().run_program(program, X, *outputs)

    def __reduce__(self) -> Any:
        return type(self), (self.device,)

    def __repr__(self) -> str:
        return f"CupyOps({self.device})"

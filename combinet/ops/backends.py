"""Which Ops a model or an array belongs to."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from combinet.ops.base import Ops
from combinet.ops.cupy import CupyOps
from combinet.ops.numba import NumbaOps
from combinet.ops.numpy import NumpyOps

_CPU = NumbaOps() if find_spec("numba") else NumpyOps()


def default_ops() -> Ops:
    """The Ops of a model that nobody has moved: the CPU's, with Numba's kernels if it is there."""
    return _CPU


def get_array_ops(X: Any) -> Ops:
    """The Ops that an array belongs to: CupyOps of its device for CuPy's, else NumpyOps."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(X, cupy.ndarray):
        return CupyOps(X.device.id)
    return default_ops()

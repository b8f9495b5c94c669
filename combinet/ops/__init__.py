"""Array work: `Ops` and its backends. Knows no Model."""

import sys
from typing import Any

from combinet.ops.base import Ops
from combinet.ops.cupy import CupyOps
from combinet.ops.numpy import NumpyOps

__all__ = ["CupyOps", "NumpyOps", "Ops", "default_ops", "get_array_ops"]

_NUMPY = NumpyOps()


def default_ops() -> Ops:
    """The Ops of a model that nobody has moved: NumPy's."""
    return _NUMPY


def get_array_ops(X: Any) -> Ops:
    """The Ops that an array belongs to: CupyOps of its device for CuPy's, else NumpyOps."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(X, cupy.ndarray):
        return CupyOps(X.device.id)
    return default_ops()

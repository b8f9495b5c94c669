"""Functions that choose the Ops of a model or an array."""

import sys
from importlib.util import find_spec
from typing import Any

from combinet.ops.base import Ops
from combinet.ops.cupy import CupyOps
from combinet.ops.numba import NumbaOps
from combinet.ops.numpy import NumpyOps

_CPU = NumbaOps() if find_spec("numba") else NumpyOps()


def default_ops() -> Ops:
    """Returns the Ops of new models: `NumbaOps` if Numba is installed, otherwise `NumpyOps`."""
    return _CPU


def get_array_ops(X: Any) -> Ops:
    """Returns the Ops of an array: `CupyOps` of its device, or the default Ops of the CPU.

    Args:
        X: Array of CuPy, or any other value, which belongs to the CPU.

    Example:
        >>> import numpy as np
        >>> from combinet import get_array_ops
        >>> get_array_ops(np.zeros(3)).name
        'numpy'
    """
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(X, cupy.ndarray):
        return CupyOps(X.device.id)
    return default_ops()

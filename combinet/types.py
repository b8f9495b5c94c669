"""Types for annotations: arrays by dtype and number of axes, shapes, initializers and schedules.

An array is NumPy's or CuPy's. Both have the same interface, and a type checker sees NumPy's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike as ArrayLike
    from numpy.typing import DTypeLike as DTypeLike
    from typing_extensions import TypeVar

    # The type of a batch: a list, Ragged, Padded or an array.
    Form = TypeVar("Form", default=Any)
else:  # so that `import combinet` loads neither of these modules
    ArrayLike = DTypeLike = Form = Any

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Floats1d: TypeAlias = np.ndarray[tuple[int], np.dtype[np.floating[Any]]]
Floats2d: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.floating[Any]]]
Floats3d: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.floating[Any]]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
Ints1d: TypeAlias = np.ndarray[tuple[int], np.dtype[np.integer[Any]]]
Ints2d: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.integer[Any]]]

Shape: TypeAlias = tuple[int, ...]
# Quoted because evaluating np.random would import NumPy's random module.
Generator: TypeAlias = "np.random.Generator"
Initializer: TypeAlias = "Callable[[Shape, np.random.Generator], Floats]"
Schedule: TypeAlias = Callable[[int], float]


def is_array(X: object) -> TypeGuard[Array]:
    """Returns whether a value is an array of any library, on any device."""
    return hasattr(X, "dtype") and hasattr(X, "shape")


def is_size(value: object) -> bool:
    """Returns whether a value can be the size of a dim: an int of at least 1, not a bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0

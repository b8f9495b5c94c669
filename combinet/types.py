"""The words that everything else uses: arrays by kind and number of axes.

Arrays are NumPy's, or CuPy's, which follow the same interface; to a type checker both are NumPy's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # The form of a batch, as the context says it: a list, Ragged, Padded or an array.
    Form = TypeVar("Form", default=Any)

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Floats1d: TypeAlias = np.ndarray[tuple[int], np.dtype[np.floating[Any]]]
Floats2d: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.floating[Any]]]
Floats3d: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.floating[Any]]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
Ints1d: TypeAlias = np.ndarray[tuple[int], np.dtype[np.integer[Any]]]
Ints2d: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.integer[Any]]]

Shape: TypeAlias = tuple[int, ...]
# Quoted: NumPy imports its random module only when somebody asks for it.
Generator: TypeAlias = "np.random.Generator"
Initializer: TypeAlias = "Callable[[Shape, np.random.Generator], Floats]"
Schedule: TypeAlias = Callable[[int], float]


def is_array(X: object) -> TypeGuard[Array]:
    """Whether a value is an array, of any library and on any device."""
    return hasattr(X, "dtype") and hasattr(X, "shape")


def is_size(value: object) -> bool:
    """Whether a value can be a width: an int from 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0

"""Layers that convert between kinds of batches. The backward pass converts the gradient back."""

from collections.abc import Callable
from typing import Any

from combinet.batches.convert import list_to_ragged, ragged_to_list
from combinet.batches.levels import has_levels, join_level, split_level
from combinet.batches.padded import Padded, padded_to_ragged, ragged_to_padded
from combinet.batches.ragged import Ragged
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_rules import preserves
from combinet.types import Array


def list2ragged() -> Model[list[Array], Ragged]:
    """Converts a list of arrays (n_i, ...) to Ragged.

    Example:
        >>> import numpy as np
        >>> list2ragged().predict([np.array([1, 2]), np.array([3])]).lengths
        array([2, 1])
    """
    return Model("list2ragged", _list2ragged, accepts="list", widths=preserves)


def ragged2list() -> Model[Ragged, list[Array]]:
    """Converts Ragged to a list of arrays (n_i, ...).

    Example:
        >>> import numpy as np
        >>> ragged2list().predict(Ragged(np.array([1, 2, 3]), [2, 1]))
        [array([1, 2]), array([3])]
    """
    return Model("ragged2list", _ragged2list, accepts="ragged", widths=preserves)


def list2padded() -> Model[list[Array], Padded]:
    """Converts a list of arrays (n_i, ...) to Padded (longest, sequences, ...).

    Example:
        >>> import numpy as np
        >>> list2padded().predict([np.array([1]), np.array([2, 3])]).data
        array([[2, 1],
               [3, 0]])
    """
    return Model("list2padded", _list2padded, accepts="list", widths=preserves)


def padded2list() -> Model[Padded, list[Array]]:
    """Converts Padded to a list of arrays (n_i, ...), in the original order of the sequences.

    Example:
        >>> import numpy as np
        >>> (list2padded() >> padded2list()).predict([np.array([1]), np.array([2, 3])])
        [array([1]), array([2, 3])]
    """
    return Model("padded2list", _padded2list, accepts="padded", widths=preserves)


def list2array() -> Model[list[Array], Array]:
    """Concatenates a list of arrays (n_i, ...) to one array (total, ...).

    Example:
        >>> import numpy as np
        >>> list2array().predict([np.array([1, 2]), np.array([3])])
        array([1, 2, 3])
    """
    return Model("list2array", _list2array, accepts="list", widths=preserves)


def _list_to_padded(X: Any) -> Padded:
    return ragged_to_padded(list_to_ragged(X))


def _padded_to_list(X: Padded) -> list[Array]:
    return ragged_to_list(padded_to_ragged(X))


@innermost
def _list2ragged(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return _converted(X, list_to_ragged, ragged_to_list)


@innermost
def _ragged2list(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return _converted(X, ragged_to_list, list_to_ragged)


def _list2padded(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return _converted(X, _list_to_padded, _padded_to_list)


def _padded2list(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return _converted(X, _padded_to_list, _list_to_padded)


def _converted(X: Any, there: Callable[[Any], Any], back: Callable[[Any], Any]) -> Any:
    Y = there(X)
    # `back` cannot know the width of an empty list. X is empty too, so it equals its gradient.
    return Y, back if len(Y) else lambda dY: X


def _list2array(model: Model[Any, Any], X: list[Array], run: Run) -> Any:
    if has_levels(X):
        inner, lengths = join_level(X)
        Y, callback = _list2array(model, inner, run)
        return Y, lambda dY: split_level(callback(dY), lengths)
    ragged = list_to_ragged(X)
    return ragged.data, lambda dY: ragged_to_list(Ragged(dY, ragged.lengths))

"""Layers that reduce each sequence to one row."""

from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_rules import preserves
from combinet.errors import DimensionError
from combinet.ops.sequence import offsets
from combinet.types import Floats2d, Ints1d


def reduce_sum() -> Model[Ragged, Floats2d]:
    """Returns the sum of the rows of each sequence.

    The input is Ragged with floats (total, nO), the output an array (sequences, nO). An empty
    sequence returns zeros.

    Example:
        >>> import numpy as np
        >>> reduce_sum().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[3.],
               [3.]])
    """
    return Model("reduce_sum", _reduce_sum, accepts="ragged2d", widths=preserves)


def reduce_mean() -> Model[Ragged, Floats2d]:
    """Returns the mean of the rows of each sequence.

    The input is Ragged with floats (total, nO), the output an array (sequences, nO). An empty
    sequence returns zeros.

    Example:
        >>> import numpy as np
        >>> reduce_mean().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[1.5],
               [3. ]])
    """
    return Model("reduce_mean", _reduce_mean, accepts="ragged2d", widths=preserves)


def reduce_max() -> Model[Ragged, Floats2d]:
    """Returns the maximum of each column over the rows of each sequence.

    The input is Ragged with floats (total, nO), the output an array (sequences, nO). If several
    rows have the maximum, the first one receives the gradient.

    Raises:
        DimensionError: If a sequence is empty.

    Example:
        >>> import numpy as np
        >>> reduce_max().predict(Ragged(np.array([[1.0, 2.0], [2.0, 1.0]]), [2]))
        array([[2., 2.]])
    """
    return Model("reduce_max", _reduce_max, accepts="ragged2d", widths=preserves)


def reduce_first() -> Model[Ragged, Floats2d]:
    """Returns the first row of each sequence.

    The input is Ragged with floats (total, nO), the output an array (sequences, nO).

    Raises:
        DimensionError: If a sequence is empty.

    Example:
        >>> import numpy as np
        >>> reduce_first().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[1.],
               [3.]])
    """
    return Model("reduce_first", _reduce_first, accepts="ragged2d", widths=preserves)


def reduce_last() -> Model[Ragged, Floats2d]:
    """Returns the last row of each sequence.

    The input is Ragged with floats (total, nO), the output an array (sequences, nO).

    Raises:
        DimensionError: If a sequence is empty.

    Example:
        >>> import numpy as np
        >>> reduce_last().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[2.],
               [3.]])
    """
    return Model("reduce_last", _reduce_last, accepts="ragged2d", widths=preserves)


@innermost
def _reduce_sum(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    lengths, ops = X.lengths, run.ops
    Y = ops.reduce_sum(X.data, lengths)
    return Y, lambda dY: Ragged(ops.repeat_rows(dY, lengths), lengths)


@innermost
@innermost
def _reduce_mean(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    weights = run.ops.mean_weights(X.lengths, X.data.dtype)
    total, backprop = _reduce_sum(model, X, run)
    return total * weights, lambda dY: backprop(dY * weights)


@innermost
def _reduce_max(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    lengths, ops, n = _filled(model, X), run.ops, len(X.data)
    Y, which = ops.reduce_max(X.data, lengths)
    return Y, lambda dY: Ragged(ops.backprop_reduce_max(dY, which, n), lengths)


@innermost
def _reduce_first(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    return _pick(X, offsets(_filled(model, X)), run)


@innermost
def _reduce_last(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    return _pick(X, np.cumsum(_filled(model, X)) - 1, run)


def _pick(X: Ragged, rows: Ints1d, run: Run) -> Any:
    lengths, ops, n = X.lengths, run.ops, len(X.data)
    Y = ops.take_rows(X.data, rows)
    return Y, lambda dY: Ragged(ops.scatter_rows(dY, rows, n), lengths)


def _filled(model: Model[Any, Any], X: Ragged) -> Ints1d:
    empty = np.flatnonzero(X.lengths == 0)
    if empty.size:
        raise DimensionError(f"{model.name} expected no empty sequence, got one: index {empty[0]}")
    return X.lengths

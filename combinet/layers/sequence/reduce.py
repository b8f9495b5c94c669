"""Sequences to one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_rules import preserves
from combinet.errors import DimensionError
from combinet.ops.sequence import offsets
from combinet.types import Floats2d, Ints1d


def reduce_sum() -> Model[Ragged, Floats2d]:
    """The sum of each sequence's rows, 0 for an empty one.

    X Ragged of (total, nO) -> Y (sequences, nO).

    Example:
        >>> import numpy as np
        >>> reduce_sum().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[3.],
               [3.]])
    """
    return _reduction("reduce_sum", _reduce_sum)


def reduce_mean() -> Model[Ragged, Floats2d]:
    """The mean of each sequence's rows, 0 for an empty one.

    X Ragged of (total, nO) -> Y (sequences, nO).

    Example:
        >>> import numpy as np
        >>> reduce_mean().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[1.5],
               [3. ]])
    """
    return _reduction("reduce_mean", _reduce_mean)


def reduce_max() -> Model[Ragged, Floats2d]:
    """The largest of each sequence's rows, column by column; of equal ones the first counts.

    X Ragged of (total, nO) -> Y (sequences, nO). Raises DimensionError for an empty sequence.

    Example:
        >>> import numpy as np
        >>> reduce_max().predict(Ragged(np.array([[1.0, 2.0], [2.0, 1.0]]), [2]))
        array([[2., 2.]])
    """
    return _reduction("reduce_max", _reduce_max)


def reduce_first() -> Model[Ragged, Floats2d]:
    """The first row of each sequence. Raises DimensionError for an empty sequence.

    X Ragged of (total, nO) -> Y (sequences, nO).

    Example:
        >>> import numpy as np
        >>> reduce_first().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[1.],
               [3.]])
    """
    return _reduction("reduce_first", _reduce_first)


def reduce_last() -> Model[Ragged, Floats2d]:
    """The last row of each sequence. Raises DimensionError for an empty sequence.

    X Ragged of (total, nO) -> Y (sequences, nO).

    Example:
        >>> import numpy as np
        >>> reduce_last().predict(Ragged(np.array([[1.0], [2.0], [3.0]]), [2, 1]))
        array([[2.],
               [3.]])
    """
    return _reduction("reduce_last", _reduce_last)


def _reduction(name: str, forward: Callable[..., Any]) -> Model[Ragged, Floats2d]:
    return Model(name, forward, accepts="ragged2d", widths=preserves)


def _reduce_sum(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    lengths = X.lengths

    def backprop(dY: Floats2d) -> Ragged:
        return Ragged(run.ops.repeat_rows(dY, lengths), lengths)

    return run.ops.reduce_sum(X.data, lengths), backprop


def _reduce_mean(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    lengths = X.lengths
    weights = run.ops.mean_weights(lengths, X.data.dtype)

    def backprop(dY: Floats2d) -> Ragged:
        return Ragged(run.ops.repeat_rows(dY * weights, lengths), lengths)

    return run.ops.reduce_sum(X.data, lengths) * weights, backprop


def _reduce_max(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    lengths = _filled(model, X)
    n = X.data.shape[0]
    Y, which = run.ops.reduce_max(X.data, lengths)

    def backprop(dY: Floats2d) -> Ragged:
        return Ragged(run.ops.backprop_reduce_max(dY, which, n), lengths)

    return Y, backprop


def _reduce_first(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    return _pick(X, offsets(_filled(model, X)), run)


def _reduce_last(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    return _pick(X, np.cumsum(_filled(model, X)) - 1, run)


def _pick(X: Ragged, rows: Ints1d, run: Run) -> Any:
    n, lengths = X.data.shape[0], X.lengths

    def backprop(dY: Floats2d) -> Ragged:
        return Ragged(run.ops.scatter_rows(dY, rows, n), lengths)

    return run.ops.take_rows(X.data, rows), backprop


def _filled(model: Model[Any, Any], X: Ragged) -> Ints1d:
    if (X.lengths == 0).any():
        empty = int(np.flatnonzero(X.lengths == 0)[0])
        raise DimensionError(f"{model.name} needs a row in every sequence; number {empty} is empty")
    return X.lengths

"""Layers on parts of a batch: single items, sequences of equal length, distinct rows."""

import math
from typing import Any

import numpy as np

from combinet.batches.convert import check_list
from combinet.batches.levels import concatenate_batches, has_levels
from combinet.batches.ragged import Ragged
from combinet.core.levels import innermost, takes_levels
from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import DimensionError, InputError, describe
from combinet.types import Array, Ints


def map_list(layer: Model[A, B]) -> Model[list[A], list[B]]:
    """Applies a layer to each item of a list, in a separate pass for each item.

    If one pass can process all rows together, `with_flatten` is faster. If the items are lists of
    arrays, and the layer accepts lists of any depth, as `with_flatten` and `list2ragged` do, then
    one pass processes the arrays of all items. `BatchNorm` uses the statistics of all of them.

    Args:
        layer: Layer to apply to the items.

    Raises:
        InputError: If the input of a pass is not a list.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> map_list(relu()).predict([np.array([-1.0, 1.0]), np.array([[2.0]])])
        [array([0., 1.]), array([[2.]])]
    """
    return Model("map_list", _map_list, layers=[layer], accepts="list", widths=delegates)


def _map_list(model: Model[Any, Any], X: list[Any], run: Run) -> Any:
    layer, alone = model.layers[0], run.with_lengths(None)
    if has_levels(X) and takes_levels(layer):
        return _all_at_once(layer, X, alone)
    results = [alone(layer, x) for x in X]
    callbacks = [callback for _, callback in results]

    def backprop(dY: list[Any]) -> Any:
        dX = [callback(dy) for callback, dy in zip(callbacks, dY, strict=True)]
        return None if dX and all(dx is None for dx in dX) else dX

    return [Y for Y, _ in results], backprop


def _all_at_once(layer: Model[Any, Any], X: list[Any], run: Run) -> Any:
    """Calls a layer that accepts lists of any depth once, for all items."""
    Y, callback = run(layer, X)
    ragged = isinstance(Y, Ragged)

    def backprop(dY: list[Any]) -> Any:
        if not ragged:
            return callback(dY)
        return callback(Ragged(concatenate_batches(dY), Y.lengths))

    return ([Y[i].data for i in range(len(Y))] if ragged else Y), backprop


def with_square_sequences(layer: Model[Array, Array]) -> Model[list[Array], list[Array]]:
    """Applies a layer for sequences of equal length to a list of sequences of any length.

    The input is a list of arrays (n_i, nI), the output a list of arrays (n_i, nO). Sequences of
    equal length form one batch (sequences, length, nI). So there is one pass for each length,
    without padding or masks.

    Args:
        layer: Layer from arrays (sequences, length, nI) to arrays (sequences, length, nO).

    Raises:
        InputError: If the input of a pass is not a list of arrays of one width.
        DimensionError: If the layer changes the number or the length of sequences.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, with_reshape
        >>> model = with_square_sequences(with_reshape(Linear(4))).initialize([np.ones((2, 3))])
        >>> docs = [np.ones((n, 3), "float32") for n in (2, 1, 2)]
        >>> [Y.shape for Y in model.predict(docs)]
        [(2, 4), (1, 4), (2, 4)]
    """
    return Model(
        "with_square_sequences",
        _with_square_sequences,
        layers=[layer],
        accepts="list",
        widths=delegates,
    )


@innermost
def _with_square_sequences(model: Model[Any, Any], X: list[Array], run: Run) -> Any:
    check_list(X)
    layer, inner, ops = model.layers[0], run.with_lengths(None), run.ops
    lengths = np.array([len(x) for x in X], "int64")
    groups = [np.flatnonzero(lengths == length).tolist() for length in np.unique(lengths)]

    def square(batch: list[Array], group: list[int]) -> Array:
        joined = ops.concatenate([batch[i] for i in group])
        n = int(lengths[group[0]])
        return joined.reshape(len(group), n, *joined.shape[1:])  # type: ignore[no-any-return]

    Y: list[Any] = [None] * len(X)
    callbacks = []
    for group in groups:
        joined = square(X, group)
        out, callback = inner(layer, joined)
        if not hasattr(out, "dtype") or tuple(out.shape[:2]) != tuple(joined.shape[:2]):
            raise DimensionError(
                f"{model.name} expected its layer to return {joined.shape[0]} sequences of "
                f"{joined.shape[1]} rows, got {describe(out)}"
            )
        _put(Y, group, out)
        callbacks.append(callback)

    def backprop(dY: list[Array]) -> Any:
        dX: list[Any] = [None] * len(dY)
        for group, callback in zip(groups, callbacks, strict=True):
            gradient = callback(square(dY, group))
            if gradient is not None:
                _put(dX, group, gradient)
        return None if dX and all(dx is None for dx in dX) else dX

    return Y, backprop


def _put(batch: list[Any], group: list[int], arrays: Any) -> None:
    for i, array in zip(group, arrays, strict=True):
        batch[i] = array


def uniqued(layer: Model[Ints, B], *, column: int | None = None) -> Model[Ints, B]:
    """Applies a layer for ids once to each distinct row and copies the results to equal rows.

    The input is an array of integers (n,) or (n, columns), the output an array (n, ...). It equals
    the output of the layer, but takes less time if many rows are equal. The layer must treat each
    row independently, as `Embed` does. The gradients of equal rows are summed before they reach the
    layer. On a GPU each pass waits for the number of distinct rows.

    Args:
        layer: Layer for an array of ids, such as `Embed`.
        column: Column that the layer reads. Rows are equal if they have the same id in it. None
            compares all columns.

    Raises:
        InputError: If the input of a pass is not an array of integers, or has no such column.
        DimensionError: If the layer changes the number of rows.

    Example:
        >>> import numpy as np
        >>> from combinet import HashEmbed
        >>> model = uniqued(HashEmbed(2, 100)).initialize()
        >>> model.predict(np.array([5, 7, 5, 5])).shape
        (4, 2)
    """
    return Model(
        "uniqued",
        _uniqued,
        layers=[layer],
        attrs={"column": column},
        accepts="ids",
        widths=delegates,
    )


def _uniqued(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    column = model.attrs["column"]
    if column is not None and not (X.ndim == 2 and -X.shape[1] <= column < X.shape[1]):
        raise InputError(f"uniqued expected an array with a column {column}, got {describe(X)}")
    keys: Any = X if column is None else X[:, column]
    first, inverse = run.ops.unique_rows(keys if keys.ndim == 2 else keys[:, None])
    Y, callback = run(model.layers[0], X[first])
    if not hasattr(Y, "dtype") or Y.shape[0] != first.shape[0]:
        raise DimensionError(
            f"uniqued expected its layer to return {first.shape[0]} rows, got {describe(Y)}"
        )
    shape, dtype = Y.shape, Y.dtype

    def backprop(dY: Array) -> None:
        total: Any = run.ops.zeros((shape[0], math.prod(shape[1:])), dtype)
        run.ops.scatter_add(total, inverse[:, None], dY.reshape(dY.shape[0], total.shape[1]))
        callback(total.reshape(shape))

    return Y[inverse], backprop

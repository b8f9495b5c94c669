"""Wrappers that let a layer for one kind of batch accept other kinds.

A wrapper converts the batch for its layer and converts the output back: a list becomes a list of
the same number of sequences. Gradients are converted in the same way. Inside, `run.lengths` says
where sequences begin and end. A layer for rows must keep the number of rows. A layer for lists,
Ragged or Padded can change the lengths of sequences.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.batches.convert import list_to_ragged, ragged_to_list
from combinet.batches.levels import has_levels, innermost_of
from combinet.batches.padded import Padded, padded_to_ragged, ragged_to_padded
from combinet.batches.ragged import Ragged
from combinet.core.levels import innermost, passes_levels_on
from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import InputError, describe
from combinet.types import Array, Floats, Floats2d, Form, Ints1d


def with_flatten(layer: Model[A, B]) -> Model[list[A], list[B]]:
    """Applies a layer for rows to a list of arrays: joins them first, and splits the output.

    The input is a list of arrays (n_i, ...), the output a list of arrays (n_i, nO).

    Args:
        layer: Layer for an array of rows. It must keep the number of rows.

    Raises:
        InputError: If the input of a pass is not a list of arrays.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_flatten(relu()).predict([np.array([-1.0, 1.0]), np.array([2.0])])
        [array([0., 1.]), array([2.])]
    """
    return _wrapper("with_flatten", layer, "array", accepts="list")


def with_array(layer: Model[Array, Array]) -> Model[Form, Form]:
    """Applies a layer for rows to a list of arrays, Ragged, Padded or an array.

    The output has the same kind as the input. Padding is left out before the layer is called.

    Args:
        layer: Layer for an array of rows. It must keep the number of rows.

    Raises:
        InputError: If the input of a pass is not such a batch.

    Example:
        >>> import numpy as np
        >>> from combinet import Ragged, relu
        >>> with_array(relu()).predict(Ragged(np.array([-1.0, 1.0, 2.0]), [2, 1])).data
        array([0., 1., 2.])
    """
    return _wrapper("with_array", layer, "array")


def with_array2d(layer: Model[Floats2d, Floats2d]) -> Model[Form, Form]:
    """Applies a layer for rows (n, nI) to a list of arrays, Ragged, Padded or an array.

    Same as `with_array`, but rows must be vectors: arrays (n, nI), or Padded (longest, sequences,
    nI).

    Args:
        layer: Layer for an array (n, nI). It must keep the number of rows.

    Raises:
        InputError: If the input of a pass is not such a batch, or if its rows are not vectors.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = with_array2d(Linear(2, 3)).initialize()
        >>> [Y.shape for Y in model.predict([np.ones((4, 3), "float32")])]
        [(4, 2)]
    """
    attrs = {"inside": "array"}
    return Model("with_array2d", _with_array2d, layers=[layer], attrs=attrs, widths=delegates)


def _with_array2d(model: Model[Any, Any], X: Any, run: Run) -> Any:
    first: Any = innermost_of(X)
    first = first[0] if isinstance(first, list) and first else first
    data: Any = first.data if isinstance(first, Ragged | Padded) else first
    if hasattr(data, "dtype") and data.ndim != (3 if isinstance(first, Padded) else 2):
        raise InputError(f"{model.name} expected rows of numbers (n, nI), got {describe(X)}")
    return _with(model, X, run)


def with_list(layer: Model[Any, list[Any]]) -> Model[Form, Form]:
    """Applies a layer for lists of arrays to a list, Ragged, Padded or an array.

    The output has the same kind as the input. An array is one sequence, unless an outer wrapper has
    set the lengths. The input can also be a tuple of such batches: the layer then receives a tuple
    of lists, and the output has the kind of the first batch.

    Args:
        layer: Layer for a list of arrays. It must return a list.

    Raises:
        InputError: If the input of a pass is not such a batch.

    Example:
        >>> import numpy as np
        >>> from combinet import Ragged, relu
        >>> layer = with_list(with_flatten(relu()))
        >>> layer.predict(Ragged(np.array([-1.0, 1.0, 2.0]), [2, 1])).data
        array([0., 1., 2.])
    """
    return _wrapper("with_list", layer, "list")


def with_ragged(layer: Model[Any, Ragged]) -> Model[Form, Form]:
    """Applies a layer for Ragged to a list of arrays, Ragged, Padded or an array.

    The output has the same kind as the input. An array is one sequence, unless an outer wrapper has
    set the lengths. The input can also be a tuple of such batches: the layer then receives a tuple
    of Ragged, and the output has the kind of the first batch.

    Args:
        layer: Layer for Ragged. It must return Ragged.

    Raises:
        InputError: If the input of a pass is not such a batch.

    Example:
        >>> import numpy as np
        >>> from combinet import ParametricAttention
        >>> layer = with_ragged(ParametricAttention(1)).initialize(dtype="float64")
        >>> layer.predict([np.ones((2, 1)), np.ones((1, 1))])
        [array([[0.5],
               [0.5]]), array([[1.]])]
    """
    return _wrapper("with_ragged", layer, "ragged")


def with_padded(layer: Model[Any, Padded]) -> Model[Form, Form]:
    """Applies a layer for Padded to a list of arrays, Ragged, Padded or an array.

    The output has the same kind as the input. An array is one sequence, unless an outer wrapper has
    set the lengths. The input can also be a tuple of such batches: the layer then receives a tuple
    of Padded, and the output has the kind of the first batch.

    Args:
        layer: Layer for Padded. It must return Padded.

    Raises:
        InputError: If the input of a pass is not such a batch.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_padded(with_array(relu())).predict([np.array([-1.0]), np.array([1.0, 2.0])])
        [array([0.]), array([1., 2.])]
    """
    return _wrapper("with_padded", layer, "padded")


def with_reshape(layer: Model[Floats2d, Floats2d]) -> Model[Floats, Floats]:
    """Applies a layer for rows (n, nI) to an array with more axes, then restores these axes.

    The input is an array (..., nI), the output an array (..., nO). The second to last axis runs
    over the rows of a sequence. In an input (batch, length, nI), a window of `expand_window` does
    not reach into the neighboring sequence.

    Args:
        layer: Layer for an array of rows. It must keep the number of rows.

    Raises:
        InputError: If the input of a pass is not an array with at least two axes.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = with_reshape(Linear(4, 3)).initialize()
        >>> model.predict(np.ones((2, 5, 3), "float32")).shape
        (2, 5, 4)
    """
    return Model("with_reshape", _with_reshape, layers=[layer], widths=delegates)


def _with_reshape(model: Model[Any, Any], X: Any, run: Run) -> Any:
    if not hasattr(X, "dtype") or X.ndim < 2:
        raise InputError(f"with_reshape expected an array (..., nI), got {describe(X)}")
    if X.ndim == 2:
        return run(model.layers[0], X)
    outer, total = X.shape[:-1], math.prod(X.shape[:-1])
    lengths = np.full(math.prod(X.shape[:-2]), X.shape[-2])
    Y, callback = run.with_lengths(lengths)(model.layers[0], X.reshape(total, X.shape[-1]))
    if not hasattr(Y, "dtype") or Y.shape[:1] != (total,):
        raise InputError(f"{model.name} expected {total} rows from its layer, got {describe(Y)}")

    def backprop(dY: Any) -> Any:
        dX = callback(dY.reshape(Y.shape))
        return None if dX is None else dX.reshape(X.shape)

    return Y.reshape(*outer, *Y.shape[1:]), backprop


_Enter: TypeAlias = "Callable[[Any, Ints1d], Any]"
_Leave: TypeAlias = "Callable[[Any], tuple[Any, Ints1d]]"


class Conversion(NamedTuple):
    """The conversions of one kind of batch to and from Ragged."""

    to_ragged: Callable[[Any], Ragged]
    from_ragged: Callable[[Ragged], Any]


_FORMS = {
    "list": Conversion(list_to_ragged, ragged_to_list),
    "ragged": Conversion(lambda X: X, lambda X: X),
    "padded": Conversion(padded_to_ragged, ragged_to_padded),
    "array": Conversion(lambda X: Ragged.unchecked(X, np.array([len(X)])), lambda X: X.data),
}

_CLASSES: dict[str, type] = {"list": list, "ragged": Ragged, "padded": Padded}


def _wrapper(
    name: str, layer: Model[Any, Any], inside: str, accepts: str = "any"
) -> Model[Any, Any]:
    attrs = {"inside": inside}
    forward = _with_list if inside == "list" else _with
    return Model(name, forward, layers=[layer], attrs=attrs, accepts=accepts, widths=delegates)


@innermost
def _with(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, inside = model.layers[0], model.attrs["inside"]
    if isinstance(X, tuple) and inside != "array":  # rows of several batches have no common lengths
        return _with_tuple(model, X, run)
    if _form_of(model, X) == inside:
        return run(layer, X, run.wants_dX)
    if isinstance(X, list) and not X:  # nothing shows the dtype or the width to convert to
        return X, lambda dY: dY
    if layer.accepts == "time_major2d" and isinstance(X, list | Ragged) and inside != "array":
        return run(layer, X, run.wants_dX)  # it packs the rows itself, without padding
    converted, lengths, enter, leave = _convert(model, X, run)
    inner = run.with_lengths(lengths if inside == "array" else None)
    Y, callback = inner(layer, converted, run.wants_dX)
    out, out_lengths = leave(Y)  # the layer may have changed the lengths

    def backprop(dY: Any) -> Any:
        dX = callback(enter(dY, out_lengths))
        return None if dX is None else leave(dX)[0]

    return out, backprop


@passes_levels_on
def _with_list(model: Model[Any, Any], X: Any, run: Run) -> Any:
    if isinstance(X, list):  # of any depth
        return run(model.layers[0], X, run.wants_dX)
    return _with(model, X, run)


def _with_tuple(model: Model[Any, Any], X: tuple[Any, ...], run: Run) -> Any:
    layer, inside = model.layers[0], model.attrs["inside"]
    if any(map(has_levels, X)):
        raise InputError(f"{model.name} expected batches of one level, got {describe(X)}")
    if all(_form_of(model, x) == inside for x in X):
        return run(layer, X)
    if all(isinstance(x, list) and not x for x in X):
        return X[0], lambda dY: X
    converted, _, enters, leaves = zip(*(_convert(model, x, run) for x in X), strict=True)
    Y, callback = run.with_lengths(None)(layer, converted)
    out, out_lengths = leaves[0](Y)

    def backprop(dY: Any) -> Any:
        dX = callback(enters[0](dY, out_lengths))
        if dX is None:
            return None
        pairs = zip(leaves, dX, strict=True)
        return tuple(None if dx is None else leave(dx)[0] for leave, dx in pairs)

    return out, backprop


def _convert(model: Model[Any, Any], X: Any, run: Run) -> tuple[Any, Ints1d, _Enter, _Leave]:
    """Returns the converted X, its lengths, and functions to convert batches in and out."""
    outside, inside = _form_of(model, X), model.attrs["inside"]
    outer, inner = _FORMS[outside], _FORMS[inside]
    source = outer.to_ragged(X)
    lengths = run.lengths_of(X) if source.data is X else source.lengths

    def enter(batch: Any, lengths: Ints1d) -> Any:
        return inner.from_ragged(Ragged.unchecked(outer.to_ragged(batch).data, lengths))

    def leave(batch: Any) -> tuple[Any, Ints1d]:
        _check_output(model, batch, len(source.data))
        rows = inside == "array"
        ragged = Ragged.unchecked(batch, lengths) if rows else inner.to_ragged(batch)
        return outer.from_ragged(ragged), ragged.lengths

    return inner.from_ragged(Ragged.unchecked(source.data, lengths)), lengths, enter, leave


def _form_of(model: Model[Any, Any], X: Any) -> str:
    if isinstance(X, Ragged):
        return "ragged"
    if isinstance(X, Padded):
        return "padded"
    if isinstance(X, list):
        return "list"
    if hasattr(X, "dtype") and X.ndim >= 1:
        return "array"
    raise InputError(f"{model.name} expected a list, Ragged, Padded or an array, got {describe(X)}")


def _check_output(model: Model[Any, Any], Y: Any, rows: int) -> None:
    inside = model.attrs["inside"]
    if inside == "array":
        fits = hasattr(Y, "dtype") and Y.ndim > 0 and Y.shape[0] == rows
        words = f"{rows} rows"
    else:
        fits = isinstance(Y, _CLASSES[inside])
        words = _CLASSES[inside].__name__
    if not fits:
        raise InputError(f"{model.name} expected its layer to return {words}, got {describe(Y)}")

"""A layer for one form of batch, made to take others: the batch is converted there and back.

What goes in as a list comes out as a list of as many sequences; so do the gradients, on their way
back. Inside, layers that look at neighbours know where sequences begin and end. A layer on rows
keeps their number; one on lists, Ragged or Padded may change how long sequences are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from combinet.batches.convert import list_to_ragged, ragged_to_list
from combinet.batches.padded import Padded, padded_to_ragged, ragged_to_padded
from combinet.batches.ragged import Ragged
from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import InputError, describe
from combinet.types import Array, Floats, Floats2d, Ints1d

if TYPE_CHECKING:
    from combinet.types import Form


def with_flatten(layer: Model[A, B]) -> Model[list[A], list[B]]:
    """A layer on rows, applied to a list of arrays: all rows at once, then split as before.

    X list of (n_i, ...) -> Y list of (n_i, nO). Raises InputError for anything but a list.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_flatten(relu()).predict([np.array([-1.0, 1.0]), np.array([2.0])])
        [array([0., 1.]), array([2.])]
    """
    return _wrapper("with_flatten", layer, "array", accepts="list")


def with_array(layer: Model[Array, Array]) -> Model[Form, Form]:
    """A layer on rows, applied to a list of arrays, Ragged, Padded or an array as it is.

    Of Padded only the real rows go in.

    Example:
        >>> import numpy as np
        >>> from combinet import Ragged, relu
        >>> with_array(relu()).predict(Ragged(np.array([-1.0, 1.0, 2.0]), [2, 1])).data
        array([0., 1., 2.])
    """
    return _wrapper("with_array", layer, "array")


def with_array2d(layer: Model[Floats2d, Floats2d]) -> Model[Form, Form]:
    """`with_array` for rows of numbers: the layer gets an array (n, nI), or nobody does.

    X list of (n_i, nI), Ragged, Padded or an array (n, nI). Raises InputError for rows with more
    axes or none.

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
    first: Any = X[0] if isinstance(X, list) and X else X
    data = first.data if isinstance(first, Ragged | Padded) else first
    if hasattr(data, "dtype") and data.ndim != (3 if isinstance(first, Padded) else 2):
        raise InputError(f"{model.name} takes rows of numbers, (n, nI), not {describe(X)}")
    return _with(model, X, run)


def with_list(layer: Model[Any, list[Any]]) -> Model[Form, Form]:
    """A layer on lists of arrays, applied to a list, Ragged, Padded or one array.

    To a tuple of such, too: what comes out then has the form of the first.

    Example:
        >>> import numpy as np
        >>> from combinet import Ragged, relu
        >>> layer = with_list(with_flatten(relu()))
        >>> layer.predict(Ragged(np.array([-1.0, 1.0, 2.0]), [2, 1])).data
        array([0., 1., 2.])
    """
    return _wrapper("with_list", layer, "list")


def with_ragged(layer: Model[Any, Ragged]) -> Model[Form, Form]:
    """A layer on Ragged, applied to a list of arrays, Ragged, Padded or one array.

    To a tuple of such, too: what comes out then has the form of the first.

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
    """A layer on Padded, applied to a list of arrays, Ragged, Padded or one array.

    To a tuple of such, too: what comes out then has the form of the first.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_padded(with_array(relu())).predict([np.array([-1.0]), np.array([1.0, 2.0])])
        [array([0.]), array([1., 2.])]
    """
    return _wrapper("with_padded", layer, "padded")


def with_reshape(layer: Model[Floats2d, Floats2d]) -> Model[Floats, Floats]:
    """A layer on rows, applied to an array of more axes: all rows at once, then as before.

    X (..., nI) -> Y (..., nO). Each stretch of the last axis but one is a sequence of its own:
    in (batch, length, nI) no window of `expand_window` reaches into a neighbour. Raises InputError
    for fewer than two axes.

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
        raise InputError(f"with_reshape takes an array (..., nI), not {describe(X)}")
    if X.ndim == 2:
        return run(model.layers[0], X)
    outer, total = X.shape[:-1], math.prod(X.shape[:-1])
    lengths = np.full(math.prod(X.shape[:-2]), X.shape[-2])
    Y, callback = run.with_lengths(lengths)(model.layers[0], X.reshape(total, X.shape[-1]))
    if not hasattr(Y, "dtype") or Y.shape[:1] != (total,):
        raise InputError(
            f"the layer in {model.name} has to give back a row for each of {total}, "
            f"not {describe(Y)}"
        )

    def backprop(dY: Any) -> Any:
        dX = callback(dY.reshape(Y.shape))
        return None if dX is None else dX.reshape(X.shape)

    return Y.reshape(*outer, *Y.shape[1:]), backprop


_Enter: TypeAlias = "Callable[[Any, Ints1d], Any]"
_Leave: TypeAlias = "Callable[[Any], tuple[Any, Ints1d]]"


class Conversion(NamedTuple):
    """A form of batch: how it becomes Ragged, and how Ragged becomes it."""

    to_ragged: Callable[[Any], Ragged]
    of_ragged: Callable[[Ragged], Any]


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
    return Model(name, _with, layers=[layer], attrs=attrs, accepts=accepts, widths=delegates)


def _with(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, inside = model.layers[0], model.attrs["inside"]
    if isinstance(X, tuple) and inside != "array":  # rows of several have no lengths in common
        return _with_tuple(model, X, run)
    if _form_of(model, X) == inside:
        return run(layer, X, run.wants_dX)
    if isinstance(X, list) and not X:
        return X, lambda dY: dY
    if layer.accepts == "time_major2d" and isinstance(X, list | Ragged) and inside != "array":
        return run(layer, X, run.wants_dX)  # it packs the rows itself: padding would be a detour
    there, lengths, enter, leave = _cross(model, X, run)
    inner = run.with_lengths(lengths if inside == "array" else None)
    Y, callback = inner(layer, there, run.wants_dX)
    out, out_lengths = leave(Y)  # what carries lengths may come back with others

    def backprop(dY: Any) -> Any:
        dX = callback(enter(dY, out_lengths))
        return None if dX is None else leave(dX)[0]

    return out, backprop


def _with_tuple(model: Model[Any, Any], X: tuple[Any, ...], run: Run) -> Any:
    layer, inside = model.layers[0], model.attrs["inside"]
    if all(_form_of(model, x) == inside for x in X):
        return run(layer, X)
    if all(isinstance(x, list) and not x for x in X):
        return X[0], lambda dY: X
    there, _, enters, leaves = zip(*(_cross(model, x, run) for x in X), strict=True)
    Y, callback = run.with_lengths(None)(layer, there)
    out, out_lengths = leaves[0](Y)

    def backprop(dY: Any) -> Any:
        dX = callback(enters[0](dY, out_lengths))
        if dX is None:
            return None
        pairs = zip(leaves, dX, strict=True)
        return tuple(None if dx is None else leave(dx)[0] for leave, dx in pairs)

    return out, backprop


def _cross(model: Model[Any, Any], X: Any, run: Run) -> tuple[Any, Ints1d, _Enter, _Leave]:
    """X as it is inside, its lengths, and the ways in and out for other batches of its form."""
    outside, inside = _form_of(model, X), model.attrs["inside"]
    outer, inner = _FORMS[outside], _FORMS[inside]
    there = outer.to_ragged(X)
    lengths = run.lengths_of(X) if there.data is X else there.lengths

    def enter(batch: Any, lengths: Ints1d) -> Any:
        return inner.of_ragged(Ragged.unchecked(outer.to_ragged(batch).data, lengths))

    def leave(batch: Any) -> tuple[Any, Ints1d]:
        _check_output(model, batch, len(there.data))
        rows = inside == "array"
        ragged = Ragged.unchecked(batch, lengths) if rows else inner.to_ragged(batch)
        return outer.of_ragged(ragged), ragged.lengths

    return inner.of_ragged(Ragged.unchecked(there.data, lengths)), lengths, enter, leave


def _form_of(model: Model[Any, Any], X: Any) -> str:
    if isinstance(X, Ragged):
        return "ragged"
    if isinstance(X, Padded):
        return "padded"
    if isinstance(X, list):
        return "list"
    if hasattr(X, "dtype") and X.ndim >= 1:
        return "array"
    raise InputError(
        f"{model.name} takes a list of arrays, Ragged, Padded or an array, not {describe(X)}"
    )


def _check_output(model: Model[Any, Any], Y: Any, rows: int) -> None:
    inside = model.attrs["inside"]
    if inside == "array":
        fits = hasattr(Y, "dtype") and Y.ndim > 0 and Y.shape[0] == rows
        words = f"a row for each of {rows}"
    else:
        fits = isinstance(Y, _CLASSES[inside])
        words = f"what it takes, {_CLASSES[inside].__name__}"
    if not fits:
        raise InputError(f"the layer in {model.name} has to give back {words}, not {describe(Y)}")

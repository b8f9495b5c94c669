"""Models of tuples: several batches that travel together, side by side but not joined."""

from __future__ import annotations

from typing import Any

from combinet.combinators import add_batches
from combinet.errors import InputError, describe
from combinet.model import Model
from combinet.run import Run
from combinet.widths import chain_widths


def tuplify(*layers: Model[Any, Any]) -> Model[Any, tuple[Any, ...]]:
    """Layers side by side on one input, their outputs in a tuple.

    X anything that all layers take -> Y tuple of their outputs. The input's gradient is the sum
    of theirs. Raises InputError for no layers.

    Example:
        >>> import numpy as np
        >>> from combinet import noop, relu
        >>> tuplify(noop(), relu()).predict(np.array([-1.0, 1.0]))
        (array([-1.,  1.]), array([0., 1.]))
    """
    if not layers:
        raise InputError("tuplify takes at least one layer")
    return Model("tuplify", _tuplify, layers=layers, widths=_tuplify_widths)


def _tuplify(model: Model[Any, Any], X: Any, run: Run) -> Any:
    results = [run(layer, X) for layer in model.layers]
    callbacks = [callback for _, callback in results]

    def backprop(dYs: Any) -> Any:
        dX = None
        for callback, dY in zip(callbacks, dYs, strict=True):
            if dY is not None:
                dX = add_batches(dX, callback(dY))
        return dX

    return tuple(Y for Y, _ in results), backprop


def _tuplify_widths(model: Any, nI: Any, nO: Any, solve: Any) -> Any:
    for _ in range(2):  # what the last one knows reaches the first one in the second round
        for layer in model.layers:
            solve.beside = model
            nI = solve.same(model, nI, solve(layer, nI, None)[0])
    return nI, None  # a tuple has no one width


def with_getitem(idx: int, layer: Model[Any, Any]) -> Model[tuple[Any, ...], tuple[Any, ...]]:
    """A layer applied to item `idx` of a tuple; the other items pass as they are.

    Raises InputError for anything but a tuple that has such an item.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_getitem(1, relu()).predict((np.array([-1.0]), np.array([-2.0])))
        (array([-1.]), array([0.]))
    """
    attrs = {"idx": idx}
    return Model("with_getitem", _with_getitem, layers=[layer], attrs=attrs, widths=_item_widths)


def _with_getitem(model: Model[Any, Any], X: Any, run: Run) -> Any:
    idx = model.attrs["idx"]
    if not isinstance(X, tuple) or not -len(X) <= idx < len(X):
        raise InputError(f"with_getitem takes a tuple with an item {idx}, not {describe(X)}")
    Y, callback = run(model.layers[0], X[idx])

    def backprop(dY: Any) -> Any:
        return _replaced(dY, idx, None if dY[idx] is None else callback(dY[idx]))

    return _replaced(X, idx, Y), backprop


def _replaced(items: Any, idx: int, item: Any) -> Any:
    new = list(items)
    new[idx] = item
    return tuple(new)


def _item_widths(model: Any, nI: Any, nO: Any, solve: Any) -> Any:
    solve(model.layers[0], None, None)  # a tuple has no one width to tell it
    return None, None


def siamese(layer: Model[Any, Any], similarity: Model[Any, Any]) -> Model[tuple[Any, Any], Any]:
    """One layer on each of two inputs, and a model of how the two results compare.

    X tuple of two batches -> Y = similarity((layer(X1), layer(X2))). The layer's gradients are
    summed over both. Raises InputError for anything but a tuple of two. Bromley et al. 1993,
    "Signature verification using a siamese time delay neural network".

    Example:
        >>> import numpy as np
        >>> from combinet import CauchySimilarity, Relu
        >>> model = siamese(Relu(4, 3), CauchySimilarity()).initialize(dtype="float64")
        >>> model.predict((np.ones((2, 3)), np.ones((2, 3))))
        array([1., 1.])
    """
    return Model("siamese", _siamese, layers=[layer, similarity], widths=chain_widths)


def _siamese(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, similarity = model.layers
    first, second = pair(model, X)
    Y1, callback1 = run(layer, first)
    Y2, callback2 = run(layer, second)
    Y, callback = run(similarity, (Y1, Y2))

    def backprop(dY: Any) -> Any:
        dY1, dY2 = callback(dY)
        dX1, dX2 = callback1(dY1), callback2(dY2)
        return None if dX1 is None and dX2 is None else (dX1, dX2)

    return Y, backprop


def pair(model: Model[Any, Any], X: Any) -> tuple[Any, Any]:
    """X, if it is a tuple of two; raises InputError otherwise."""
    if not isinstance(X, tuple) or len(X) != 2:
        raise InputError(f"{model.name} takes a tuple of two, not {describe(X)}")
    return X

"""Models of tuples: several batches that travel together, side by side but not joined."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from combinet.combinators.compose import sum_batches
from combinet.core.model import A, B, C, Model
from combinet.core.run import Run
from combinet.core.shape_inference import ShapeInference, Width, Widths, item
from combinet.core.shape_rules import chained
from combinet.errors import InputError, describe

D = TypeVar("D")


@overload
def tuplify(a: Model[A, B], /) -> Model[A, tuple[B]]: ...
@overload
def tuplify(a: Model[A, B], b: Model[A, C], /) -> Model[A, tuple[B, C]]: ...
@overload
def tuplify(a: Model[A, B], b: Model[A, C], c: Model[A, D], /) -> Model[A, tuple[B, C, D]]: ...
@overload
def tuplify(*layers: Model[A, Any]) -> Model[A, tuple[Any, ...]]: ...
def tuplify(*layers: Model[A, Any]) -> Model[A, tuple[Any, ...]]:
    """Layers side by side on one input, their outputs in a tuple.

    X anything that all layers take -> Y tuple of their outputs. The input's gradient is the sum
    of theirs. A layer whose output's gradient is None goes without a backward pass: of several
    tasks that share an input, a batch may be labelled for some. Raises InputError for no layers.

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
    outputs, callbacks = zip(*(run(layer, X) for layer in model.layers), strict=True)

    def backprop(dYs: Any) -> Any:
        pairs = zip(callbacks, dYs, strict=True)
        return sum_batches(callback(dY) for callback, dY in pairs if dY is not None)

    return outputs, backprop


def _tuplify_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    outs = [item(nO, i) for i in range(len(model.layers))]
    for _ in range(2):  # what the last one knows reaches the first one in the second round
        for i, layer in enumerate(model.layers):
            infer.neighbour = model
            child_in, outs[i] = infer(layer, nI, outs[i])
            nI = infer.same(model, nI, child_in)
    return nI, tuple(outs)


def tuple_getitem(idx: int) -> Model[tuple[Any, ...], Any]:
    """Item `idx` of a tuple: Y = X[idx].

    X tuple of anything -> Y one of its items. The others have no gradient: it is None. Raises
    InputError for anything but a tuple that has such an item.

    Example:
        >>> tuple_getitem(1).predict(("the first", "the second"))
        'the second'
    """
    attrs = {"idx": idx}
    return Model("tuple_getitem", _tuple_getitem, attrs=attrs, widths=_tuple_getitem_widths)


def _tuple_getitem(model: Model[Any, Any], X: Any, run: Run) -> Any:
    idx, nothing = _index(model, X), (None,) * len(X)
    return X[idx], lambda dY: _replaced(nothing, idx, dY)


def _tuple_getitem_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    idx = model.attrs["idx"]
    if idx < 0:  # how many items stand before it is not known
        return None, None
    width = infer.same(model, nO, item(nI, idx))
    return _with_item(nI, idx, width), width


def _index(model: Model[Any, Any], X: Any) -> int:
    idx: int = model.attrs["idx"]
    if not isinstance(X, tuple) or not -len(X) <= idx < len(X):
        raise InputError(f"{model.name} takes a tuple with an item {idx}, not {describe(X)}")
    return idx


def _with_item(width: Width, idx: int, new: Width) -> Width:
    known = len(width) if isinstance(width, tuple) else 0
    items = [item(width, i) for i in range(max(known, idx + 1))]
    return _replaced(items, idx, new)


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
    idx = _index(model, X)
    Y, callback = run(model.layers[0], X[idx])

    def backprop(dY: Any) -> Any:
        return _replaced(dY, idx, None if dY[idx] is None else callback(dY[idx]))

    return _replaced(X, idx, Y), backprop


def _replaced(items: Any, idx: int, new: Any) -> tuple[Any, ...]:
    changed = list(items)
    changed[idx] = new
    return tuple(changed)


def _item_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    idx, layer = model.attrs["idx"], model.layers[0]
    if idx < 0:  # how many items stand before it is not known
        infer(layer, None, None)
        return None, None
    child_in, child_out = infer(layer, item(nI, idx), item(nO, idx))
    others = infer.same(model, *(_with_item(width, idx, None) for width in (nI, nO)))
    return _with_item(others, idx, child_in), _with_item(others, idx, child_out)


def siamese(layer: Model[A, B], similarity: Model[tuple[B, B], C]) -> Model[tuple[A, A], C]:
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
    return Model("siamese", _siamese, layers=[layer, similarity], widths=_siamese_widths)


def _siamese(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, similarity = model.layers
    first, second = pair(model, X)
    Y1, callback1 = run(layer, first)
    Y2, callback2 = run(layer, second)
    Y, callback = run(similarity, (Y1, Y2))

    def backprop(dY: Any) -> Any:
        dY1, dY2 = callback(dY) or (None, None)
        dX1 = None if dY1 is None else callback1(dY1)
        dX2 = None if dY2 is None else callback2(dY2)
        return None if dX1 is None and dX2 is None else (dX1, dX2)

    return Y, backprop


def _siamese_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    both = infer.same(model, item(nI, 0), item(nI, 1))
    return chained(model, both, nO, infer)  # one int: the width of each of the two


def pair(model: Model[Any, Any], X: object) -> tuple[Any, Any]:
    """X, if it is a tuple of two; raises InputError otherwise."""
    if not isinstance(X, tuple) or len(X) != 2:
        raise InputError(f"{model.name} takes a tuple of two, not {describe(X)}")
    return X

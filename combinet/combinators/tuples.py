"""Combinators for tuples of batches, whose items stay separate."""

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
    """Applies layers to the same input and returns a tuple of their outputs.

    The gradient of the input is the sum of the layers' gradients. If the gradient of an output
    is None, the backward pass skips its layer. So a batch of a multi-task model can have labels for
    only some of the tasks.

    Args:
        *layers: At least one layer. All layers must accept the input.

    Raises:
        InputError: If no layers are given.

    Example:
        >>> import numpy as np
        >>> from combinet import noop, relu
        >>> tuplify(noop(), relu()).predict(np.array([-1.0, 1.0]))
        (array([-1.,  1.]), array([0., 1.]))
    """
    if not layers:
        raise InputError("tuplify expected at least one layer, got none")
    return Model("tuplify", _tuplify, layers=layers, widths=_tuplify_widths)


def _tuplify(model: Model[Any, Any], X: Any, run: Run) -> Any:
    outputs, callbacks = zip(*(run(layer, X) for layer in model.layers), strict=True)

    def backprop(dYs: Any) -> Any:
        pairs = zip(callbacks, dYs, strict=True)
        return sum_batches(callback(dY) for callback, dY in pairs if dY is not None)

    return outputs, backprop


def _tuplify_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    outs = [item(nO, i) for i in range(len(model.layers))]
    for _ in range(2):  # in the second round the first layer receives widths from the last
        for i, layer in enumerate(model.layers):
            infer.neighbour = model
            child_in, outs[i] = infer(layer, nI, outs[i])
            nI = infer.same(model, nI, child_in)
    return nI, tuple(outs)


def tuple_getitem(idx: int) -> Model[tuple[Any, ...], Any]:
    """Returns an item of a tuple: Y = X[idx].

    The gradients of the other items are None.

    Args:
        idx: Index of the item. Negative indices count from the end.

    Raises:
        InputError: If the input of a pass is not a tuple with such an item.

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
    if idx < 0:  # the index from the start is unknown, because items may be missing at the end
        return None, None
    width = infer.same(model, nO, item(nI, idx))
    return _with_item(nI, idx, width), width


def _index(model: Model[Any, Any], X: Any) -> int:
    idx: int = model.attrs["idx"]
    if not isinstance(X, tuple) or not -len(X) <= idx < len(X):
        raise InputError(f"{model.name} expected a tuple with an item {idx}, got {describe(X)}")
    return idx


def _with_item(width: Width, idx: int, new: Width) -> Width:
    known = len(width) if isinstance(width, tuple) else 0
    items = [item(width, i) for i in range(max(known, idx + 1))]
    return _replaced(items, idx, new)


def with_getitem(idx: int, layer: Model[Any, Any]) -> Model[tuple[Any, ...], tuple[Any, ...]]:
    """Applies a layer to one item of a tuple. The other items are unchanged.

    Args:
        idx: Index of the item. Negative indices count from the end.
        layer: Layer to apply to the item.

    Raises:
        InputError: If the input of a pass is not a tuple with such an item.

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
    if idx < 0:  # the index from the start is unknown, as above
        infer(layer, None, None)
        return None, None
    child_in, child_out = infer(layer, item(nI, idx), item(nO, idx))
    others = infer.same(model, *(_with_item(width, idx, None) for width in (nI, nO)))
    return _with_item(others, idx, child_in), _with_item(others, idx, child_out)


def siamese(layer: Model[A, B], similarity: Model[tuple[B, B], C]) -> Model[tuple[A, A], C]:
    """Applies one layer to two inputs and compares the results: Y = similarity((f(X1), f(X2))).

    The input is a tuple of two batches. The gradients of the layer are summed over both.

    Args:
        layer: Layer f for each of the two inputs.
        similarity: Model from a tuple of two outputs of `layer` to the output, such as
            `CauchySimilarity`.

    Raises:
        InputError: If the input of a pass is not a tuple of two.

    Example:
        >>> import numpy as np
        >>> from combinet import CauchySimilarity, Relu
        >>> model = siamese(Relu(4, 3), CauchySimilarity()).initialize(dtype="float64")
        >>> model.predict((np.ones((2, 3)), np.ones((2, 3))))
        array([1., 1.])

    Source: Bromley et al. 1993, "Signature verification using a siamese time delay neural network".
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
    return chained(model, both, nO, infer)  # one int is the width of each of the two


def pair(model: Model[Any, Any], X: object) -> tuple[Any, Any]:
    """Returns X if it is a tuple of two. Raises InputError otherwise."""
    if not isinstance(X, tuple) or len(X) != 2:
        raise InputError(f"{model.name} expected a tuple of two, got {describe(X)}")
    return X

"""Around training: batches, classes as rows, widths, and changes to a finished tree of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_not
from typing import Any, TypeVar

import numpy as np

from combinet.combinators import add, chain, concatenate, noop
from combinet.data import Padded, Ragged
from combinet.errors import DimensionError, InputError, describe
from combinet.layers.dropout import Dropout
from combinet.losses.targets import smooth
from combinet.model import Model
from combinet.ops import get_array_ops
from combinet.shape_inference import compose, is_size
from combinet.slots import Key
from combinet.types import Floats, Generator, Schedule

M = TypeVar("M", bound="Model[Any, Any]")

_DROPOUT = Dropout().forward
_ANY_NUMBER = {each.forward for each in (chain(noop()), concatenate(noop()), add(noop()))}


# -- data --------------------------------------------------------------------------------------


def to_categorical(Y: Any, n_classes: int | None = None, *, label_smoothing: float = 0.0) -> Floats:
    """Class numbers of any shape as rows, float32 (..., n_classes): 1 at the class, else 0.

    With `label_smoothing` it is 1 - label_smoothing there, and the rest in equal parts at the
    others. Without `n_classes` there are as many as the largest number says; it is read, which
    on a GPU waits. Raises DimensionError for numbers beyond, InputError for what is no number.

    Example:
        >>> to_categorical([2, 0], 3, label_smoothing=0.5)
        array([[0.25, 0.25, 0.5 ],
               [0.5 , 0.25, 0.25]], dtype=float32)
    """
    ops = get_array_ops(Y)
    Y = ops.asarray(Y)
    if Y.size and Y.dtype.kind not in "iu":
        raise InputError(f"class numbers are integers, not {describe(Y)}")
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label_smoothing is from 0 to below 1, not {label_smoothing!r}")
    host = isinstance(Y, np.ndarray)
    low, high = (int(Y.min()), int(Y.max())) if Y.size and (host or not n_classes) else (0, -1)
    n_classes = high + 1 if n_classes is None else n_classes
    if not is_size(n_classes):
        raise InputError(f"there is at least one class, not {n_classes!r}")
    if low < 0 or high >= n_classes:
        raise DimensionError(f"class numbers are from 0 to {n_classes - 1}, not {low} to {high}")
    rows = (Y[..., None] == ops.xp.arange(n_classes)).astype("float32")
    return smooth(rows, label_smoothing) if label_smoothing else rows  # type: ignore[no-any-return]


def get_width(X: Any, *, dim: int = -1) -> int:
    """The size of a batch along axis `dim`, its number of columns: array, list, Ragged, Padded.

    Of numbers without columns, such as ids, it is the largest of all plus 1; of an empty list, 0.
    Raises InputError for what has no arrays.

    Example:
        >>> import numpy as np
        >>> get_width([np.zeros((3, 5)), np.zeros((1, 5))]), get_width(np.array([0, 7, 2]))
        (5, 8)
    """
    if isinstance(X, Ragged | Padded):
        return get_width(X.data, dim=dim)
    if isinstance(X, list | tuple):
        return max((get_width(each, dim=dim) for each in X), default=0)
    if not hasattr(X, "shape") or not hasattr(X, "max"):
        raise InputError(f"a width is that of arrays, not of {describe(X)}")
    if X.ndim > 1:
        return int(X.shape[dim])
    return int(X.max()) + 1 if X.size and X.ndim else 0


def minibatch(
    size: int | Schedule,
    sequence: Any,
    *others: Any,
    rng: Generator | int | None = None,
) -> Iterator[Any]:
    """Batches of `size` of a list, array, Ragged or Padded, one after the other; the last rest.

    With `others`, of the same length, each batch is a tuple with a part of each. `size` may be a
    schedule: that of the batch's number, from 0. With `rng`, a generator or a seed, the order
    is drawn from it. What is given stays as it is. Raises InputError or DimensionError, at
    the first batch.

    Example:
        >>> import numpy as np
        >>> list(minibatch(2, ["a", "b", "c"], np.array([0, 1, 2])))
        [(['a', 'b'], array([0, 1])), (['c'], array([2]))]
        >>> [len(batch) for batch in minibatch(lambda i: 2**i, list(range(9)), rng=0)]
        [1, 2, 4, 2]
    """
    sequences = (sequence, *others)
    for each in sequences:
        if not hasattr(each, "__len__") or not hasattr(each, "__getitem__"):
            raise InputError(f"batches are parts of sequences, not of {describe(each)}")
    lengths = [len(each) for each in sequences]
    if len(set(lengths)) > 1:
        raise DimensionError(f"what is divided together is as long, not {lengths}")
    order = None if rng is None else np.random.default_rng(rng).permutation(lengths[0])
    start, number = 0, 0
    while start < lengths[0]:
        count = int(size(number)) if callable(size) else size
        if not is_size(count):
            raise InputError(f"a batch's size is an int from 1, not {count!r}")
        index = slice(start, start + count)
        parts = tuple(_part(each, index, order) for each in sequences)
        yield parts if others else parts[0]
        start, number = start + count, number + 1


def _part(sequence: Any, index: slice, order: Any) -> Any:
    if order is None:
        return sequence[index]
    if isinstance(sequence, Ragged | Padded):
        return sequence[order[index]]
    if hasattr(sequence, "dtype"):
        return sequence[get_array_ops(sequence).asarray(order[index])]
    chosen = [sequence[i] for i in order[index].tolist()]
    return tuple(chosen) if isinstance(sequence, tuple) else chosen


# -- trees -------------------------------------------------------------------------------------


def set_dropout_rate(model: M, rate: float | None) -> M:
    """Give every `Dropout` in the tree this rate, None for that of the pass; returns the model.

    Example:
        >>> from combinet import Dropout, Linear
        >>> model = set_dropout_rate(Linear(2, 2) >> Dropout(0.5), 0.2)
        >>> model.layers[1].attrs["rate"]
        0.2
    """
    checked = Dropout(rate).attrs["rate"]
    for node in model.walk():
        if node.forward is _DROPOUT:
            node.attrs["rate"] = checked
    return model


def get_gradients(model: Model[Any, Any]) -> dict[Key, tuple[Floats, Floats]]:
    """The parameters with a gradient waiting, {(layer's id, name): (parameter, gradient's copy)}.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize(dtype="float64")
        >>> Y, backprop = model.begin_update(np.array([[3.0]]))
        >>> dX = backprop(np.array([[2.0]]))
        >>> {name: gradient for (_, name), (_, gradient) in get_gradients(model).items()}
        {'W': array([[6.]]), 'b': array([2.])}
    """
    return {
        (node.id, name): (node.get_param(name), node.get_grad(name))
        for node in model.walk()
        for name in node.slots
        if node.has_grad(name)
    }


def replace_node(model: M, old: Model[Any, Any], new: Model[Any, Any]) -> M:
    """A tree like the model's with `new` wherever `old` stands; the model stays as it is.

    Both trees share the layers that they have in common, and their weights. Raises InputError if
    `old` is not below the model, or below a layer with parameters of its own, and DimensionError
    if `new` doesn't fit.

    Example:
        >>> from combinet import Linear, Softmax, relu, gelu
        >>> model = Linear(4, 2) >> relu() >> Softmax(3)
        >>> replace_node(model, model.layers[1], gelu())
        chain: no parameters, not initialized
          linear   nI=2 nO=4
          gelu
          softmax  nI=? nO=3
    """
    return _exchange(model, old, [new])


def remove_node(model: M, node: Model[Any, Any]) -> M:
    """A tree like the model's without a layer; the model stays as it is. See `replace_node`.

    The layer must stand in a chain, a concatenation or a sum, and not alone: InputError.

    Example:
        >>> from combinet import Linear, Softmax, relu
        >>> model = Linear(4, 2) >> relu() >> Softmax(3)
        >>> remove_node(model, model.layers[1])
        chain: no parameters, not initialized
          linear   nI=2 nO=4
          softmax  nI=? nO=3
    """
    return _exchange(model, node, [])


def _exchange(model: M, old: Model[Any, Any], new: Sequence[Model[Any, Any]]) -> M:
    if old is model or all(node is not old for node in model.walk()):
        raise InputError(f"there is no such {old.name} below {model.name}")
    done: dict[int, Any] = {}
    return _rebuild(model, old, new, done)  # type: ignore[no-any-return]


def _rebuild(node: Any, old: Any, new: Sequence[Any], done: dict[int, Any]) -> Any:
    """The node with the exchange made below it: itself, where there is nothing to exchange."""
    if node.id in done:
        return done[node.id]
    layers: list[Any] = []
    for layer in node.layers:
        for each in new if layer is old else [_rebuild(layer, old, new, done)]:
            layers.extend(node.flattened(each))
    done[node.id] = node
    if len(layers) != len(node.layers) or any(map(is_not, layers, node.layers)):
        if node.param_names:
            raise InputError(f"{node.name} has parameters of its own: its layers stay")
        if len(layers) < len(node.layers) and (node.forward not in _ANY_NUMBER or not layers):
            raise InputError(f"{node.name} needs its {old.name}: replace it, by noop()")
        twin = object.__new__(type(node))
        twin.__dict__.update(node.__dict__)
        twin._renew(layers)
        compose(twin)
        done[node.id] = twin
    return done[node.id]

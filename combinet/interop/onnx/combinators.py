"""Combinators, and layers that have no effect in a graph, such as dropout."""

from collections.abc import Callable
from functools import partial
from typing import Any

import combinet as cb
from combinet.core.model import Model
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor


def _zip(function: Callable[..., Tensor], *batches: Any) -> Any:
    """Applies a function to the tensors of batches with the same structure."""
    first = batches[0]
    if isinstance(first, Sequences):
        return Sequences(function(*(each.rows for each in batches)), first.lengths)
    if isinstance(first, tuple):
        return tuple(_zip(function, *items) for items in zip(*batches, strict=True))
    return function(*batches)


@converts(cb.chain(cb.noop(), cb.noop()))
def _chain(model: Any, X: Any, to: Export) -> Any:
    for layer in model.layers:
        X = to(layer, X)
    return X


def _joins(layer: Model[Any, Any], function: Callable[..., Tensor]) -> None:
    """Registers the function of `op` that joins the outputs of a layer's sublayers."""

    def convert(model: Any, X: Any, to: Export) -> Any:
        return _zip(partial(function, to.op), *(to(sublayer, X) for sublayer in model.layers))

    converts(layer)(convert)


_joins(cb.concatenate(cb.noop()), lambda op, *outputs: op("Concat", *outputs, axis=-1))
_joins(cb.add(cb.noop()), lambda op, *outputs: op("Sum", *outputs))
_joins(cb.gated(cb.noop(), cb.noop()), lambda op, H, G: G * H)


@converts(cb.residual(cb.noop()))
def _residual(model: Any, X: Any, to: Export) -> Any:
    return _zip(partial(to.op, "Sum"), X, to(model.layers[0], X))


@converts(cb.highway(cb.noop(), cb.noop()))
def _highway(model: Any, X: Tensor, to: Export) -> Tensor:
    H, G = (to(layer, X) for layer in model.layers)
    return G * (H - X) + X  # type: ignore[no-any-return]


@converts(cb.with_debug(cb.noop()), cb.with_nvtx_range(cb.noop()), cb.with_cpu(cb.noop()))
@converts(cb.checkpointed(cb.noop()), cb.with_threads(cb.noop()), cb.uniqued(cb.noop()))
def _sublayer(model: Any, X: Any, to: Export) -> Any:
    """Returns the output of the only sublayer."""
    return to(model.layers[0], X)


# In a graph, dropout has no effect, and lists of arrays, Ragged and Padded are the same.
converts(cb.noop(), cb.Dropout())(lambda model, X, to: X)
converts(cb.list2ragged(), cb.ragged2list())(lambda model, X, to: X)
converts(cb.list2padded(), cb.padded2list())(lambda model, X, to: X)

converts(cb.tuplify(cb.noop()))(lambda model, X, to: tuple(to(each, X) for each in model.layers))
converts(cb.tuple_getitem(0))(lambda model, X, to: X[model.attrs["idx"]])


@converts(cb.with_getitem(0, cb.noop()))
def _with_getitem(model: Any, X: tuple[Any, ...], to: Export) -> tuple[Any, ...]:
    items, idx = list(X), model.attrs["idx"]
    items[idx] = to(model.layers[0], X[idx])
    return tuple(items)


@converts(cb.siamese(cb.noop(), cb.noop()))
def _siamese(model: Any, X: tuple[Any, Any], to: Export) -> Any:
    layer, similarity = model.layers
    return to(similarity, (to(layer, X[0]), to(layer, X[1])))

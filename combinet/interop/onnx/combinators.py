"""Models made of models, and what happens beside a layer's pass, of which a graph has no trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from combinet.combinators import (
    checkpoint,
    compose,
    device,
    hooks,
    parallel,
    subsets,
    tuples,
)
from combinet.combinators.compose import noop
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor
from combinet.layers.dense.dropout import Dropout
from combinet.layers.sequence.conversions import (
    list2padded,
    list2ragged,
    padded2list,
    ragged2list,
)


def _zip(function: Callable[..., Tensor], *batches: Any) -> Any:
    """A batch whose tensors are made of those of batches of one form."""
    first = batches[0]
    if isinstance(first, Sequences):
        return Sequences(function(*(each.rows for each in batches)), first.lengths)
    if isinstance(first, tuple):
        return tuple(_zip(function, *items) for items in zip(*batches, strict=True))
    return function(*batches)


@converts(compose.chain(noop(), noop()))
def _chain(model: Any, X: Any, to: Export) -> Any:
    for layer in model.layers:
        X = to(layer, X)
    return X


@converts(compose.concatenate(noop()))
def _concatenate(model: Any, X: Any, to: Export) -> Any:
    return _zip(partial(to.op, "Concat", axis=-1), *(to(layer, X) for layer in model.layers))


@converts(compose.add(noop()))
def _add(model: Any, X: Any, to: Export) -> Any:
    return _zip(partial(to.op, "Sum"), *(to(layer, X) for layer in model.layers))


@converts(compose.residual(noop()))
def _residual(model: Any, X: Any, to: Export) -> Any:
    return _zip(partial(to.op, "Sum"), X, to(model.layers[0], X))


@converts(compose.highway(noop(), noop()))
def _highway(model: Any, X: Tensor, to: Export) -> Tensor:
    H, G = (to(layer, X) for layer in model.layers)
    return G * (H - X) + X  # type: ignore[no-any-return]


@converts(compose.gated(noop(), noop()))
def _gated(model: Any, X: Tensor, to: Export) -> Tensor:
    H, G = (to(layer, X) for layer in model.layers)
    return G * H  # type: ignore[no-any-return]


@converts(
    noop(),
    Dropout(),
    list2ragged(),
    ragged2list(),
    list2padded(),
    padded2list(),
)
def _identity(model: Any, X: Any, to: Export) -> Any:
    """The input: what the layer does is nothing to a graph."""
    return X


@converts(
    hooks.with_debug(noop()),
    hooks.with_nvtx_range(noop()),
    device.with_cpu(noop()),
    checkpoint.checkpointed(noop()),
    parallel.with_threads(noop()),
    subsets.uniqued(noop()),
)
def _child(model: Any, X: Any, to: Export) -> Any:
    """What the only layer below gives."""
    return to(model.layers[0], X)


@converts(tuples.tuplify(noop()))
def _tuplify(model: Any, X: Any, to: Export) -> tuple[Any, ...]:
    return tuple(to(layer, X) for layer in model.layers)


@converts(tuples.tuple_getitem(0))
def _tuple_getitem(model: Any, X: tuple[Any, ...], to: Export) -> Any:
    return X[model.attrs["idx"]]


@converts(tuples.with_getitem(0, noop()))
def _with_getitem(model: Any, X: tuple[Any, ...], to: Export) -> tuple[Any, ...]:
    items, idx = list(X), model.attrs["idx"]
    items[idx] = to(model.layers[0], X[idx])
    return tuple(items)


@converts(tuples.siamese(noop(), noop()))
def _siamese(model: Any, X: tuple[Any, Any], to: Export) -> Any:
    layer, similarity = model.layers
    return to(similarity, (to(layer, X[0]), to(layer, X[1])))

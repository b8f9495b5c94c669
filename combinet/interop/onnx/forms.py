"""Layers for one form of batch that are made to take others, and parts of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import combinet as cb
from combinet.errors import InputError
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor, tensor_type
from combinet.interop.onnx.loops import loop


@converts(cb.with_array(cb.noop()), cb.with_array2d(cb.noop()))
def _with(model: Any, X: Any, to: Export) -> Any:
    layer, inside = model.layers[0], model.attrs["inside"]
    if inside == "array":
        if not isinstance(X, Sequences):
            return to(layer, X)
        return Sequences(to.with_lengths(X.lengths)(layer, X.rows), X.lengths)
    if isinstance(X, Sequences):
        return to.with_lengths(None)(layer, X)
    first, *_ = X if isinstance(X, tuple) else (X,)
    there = tuple(map(to.sequences, X)) if isinstance(X, tuple) else to.sequences(X)
    Y = to.with_lengths(None)(layer, there)
    return Y.rows if isinstance(first, Tensor) else Y


@converts(cb.with_reshape(cb.noop()))
def _with_reshape(model: Any, X: Tensor, to: Export) -> Tensor:
    axes = len(X.shape)
    if axes == 2:
        return to(model.layers[0], X)  # type: ignore[no-any-return]
    n = to.op("ReduceProd", to.op("Shape", X, end=axes - 2))
    lengths = to.op("Expand", X.size(-2), n)
    Y = to.with_lengths(lengths)(model.layers[0], X.reshape(-1, X.width))
    shape = to.op("Concat", to.op("Shape", X, end=axes - 1), to.op("Shape", Y, start=1), axis=0)
    return to.op("Reshape", Y, shape, allowzero=1)


@converts(cb.list2array())
def _rows(model: Any, X: Sequences, to: Export) -> Tensor:
    return X.rows


@converts(cb.map_list(cb.noop()))
def _map_list(model: Any, X: Sequences, to: Export) -> Sequences:
    return _each(model, X, to, lambda rows: to.with_lengths(None)(model.layers[0], rows))


@converts(cb.with_square_sequences(cb.noop()))
def _with_square_sequences(model: Any, X: Sequences, to: Export) -> Sequences:
    def square(rows: Tensor) -> Tensor:
        Y: Tensor = to.with_lengths(None)(model.layers[0], rows.unsqueeze(0))
        return to.op("Squeeze", Y, [0])

    return _each(model, X, to, square)


def _each(model: Any, X: Sequences, to: Export, function: Callable[[Tensor], Any]) -> Sequences:
    """A function of the rows of each sequence alone, one sequence after the other."""
    graph, offsets = to.graph, to.layout(X.lengths).offsets
    with graph.subgraph():
        sample = function(X.rows)  # which tells what kind of result there will be
    if not isinstance(sample, Tensor):
        raise InputError(f"{model.name} has an ONNX form for a layer that gives arrays alone")

    def step(i: Tensor, done: Tensor) -> tuple[Tensor, Tensor]:
        number = i.reshape(1)
        first = offsets.take(number)
        Y = function(X.rows.slice(first, first + X.lengths.take(number)))
        return to.op("SequenceInsert", done, Y), Y.size(0)

    nothing = to.op("SequenceEmpty", dtype=sample.type.tensor_type.elem_type)
    done, lengths = loop(X.lengths.size(0), nothing, step)
    rows = to.op("ConcatFromSequence", done, axis=0)
    rows.type = tensor_type(sample.dtype, [None, *sample.shape[1:]])
    return Sequences(rows, lengths.reshape(-1))


@converts(cb.array_getitem(0))
def _array_getitem(model: Any, X: Tensor, to: Export) -> Tensor:
    given = model.attrs["index"]
    indices = given if isinstance(given, tuple) else (given,)
    if sum(not isinstance(index, slice) for index in indices) > 1 and not all(
        isinstance(index, int | slice) for index in indices
    ):
        raise InputError(f"{model.name} has an ONNX form with a list on one axis alone")
    for axis, index in reversed([*enumerate(indices)]):  # the last first: an int removes its axis
        if not isinstance(index, slice):
            X = X.take(index, axis=axis)
        elif index != slice(None):
            X = _slice(X, index, axis)
    return X


def _slice(X: Tensor, index: slice, axis: int) -> Tensor:
    step = 1 if index.step is None else index.step
    far = 2**63 - 1
    start, stop = (0, far) if step > 0 else (far, -far)
    return X.slice(
        start if index.start is None else index.start,
        stop if index.stop is None else index.stop,
        axis, step,
    )  # fmt: skip

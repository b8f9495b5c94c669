"""Conversions between types of batches, and parts of batches."""

from collections.abc import Callable
from typing import Any

import combinet as cb
from combinet.errors import InputError
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor, tensor_type


@converts(cb.with_array(cb.noop()), cb.with_array2d(cb.noop()), cb.with_list(cb.noop()))
def _with(model: Any, X: Any, to: Export) -> Any:
    layer, inside = model.layers[0], model.attrs["inside"]
    if inside == "array":
        if not isinstance(X, Sequences):
            return to(layer, X)
        return Sequences(to.with_lengths(X.lengths)(layer, X.rows), X.lengths)
    several = isinstance(X, tuple) and not isinstance(X, Sequences)
    batches = X if several else (X,)
    sequences = tuple(map(to.sequences, batches))
    Y = to.with_lengths(None)(layer, sequences if several else sequences[0])
    return Y.rows if isinstance(batches[0], Tensor) else Y


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


converts(cb.list2array())(lambda model, X, to: X.rows)


@converts(cb.map_list(cb.noop()))
def _map_list(model: Any, X: Sequences, to: Export) -> Sequences:
    layer, inside = model.layers[0], to.with_lengths(None)
    return _each(model, X, to, lambda rows: inside(layer, rows))


@converts(cb.with_square_sequences(cb.noop()))
def _with_square_sequences(model: Any, X: Sequences, to: Export) -> Sequences:
    layer, inside = model.layers[0], to.with_lengths(None)
    return _each(model, X, to, lambda x: to.op("Squeeze", inside(layer, x.unsqueeze(0)), [0]))


def _each(model: Any, X: Sequences, to: Export, function: Callable[[Tensor], Any]) -> Sequences:
    """Applies a function to the rows of each sequence separately, one sequence after the other."""
    graph, offsets = to.graph, to.layout(X.lengths).offsets
    with graph.subgraph():
        sample = function(X.rows)  # shows the type of the result
    if not isinstance(sample, Tensor):
        raise InputError(f"{model.name} expected a layer that returns arrays, for ONNX")

    def step(i: Tensor, done: Tensor) -> tuple[Tensor, Tensor]:
        number = i.reshape(1)
        first = offsets.take(number)
        Y = function(X.rows.slice(first, first + X.lengths.take(number)))
        return to.op("SequenceInsert", done, Y), Y.size(0)

    nothing = to.op("SequenceEmpty", dtype=sample.type.tensor_type.elem_type)
    done, lengths = graph.loop(X.lengths.size(0), nothing, step)
    rows = to.op("ConcatFromSequence", done, axis=0)
    rows.type = tensor_type(sample.dtype, [None, *sample.shape[1:]])
    return Sequences(rows, lengths.reshape(-1))


@converts(cb.array_getitem(0))
def _array_getitem(model: Any, X: Tensor, to: Export) -> Tensor:
    given = model.attrs["index"]
    indices = given if isinstance(given, tuple) else (given,)
    chosen = [index for index in indices if not isinstance(index, slice)]
    if len(chosen) > 1 and not all(isinstance(index, int) for index in chosen):
        raise InputError(f"{model.name} expected a list on only one axis, for ONNX")
    for axis, index in reversed([*enumerate(indices)]):  # last first: an int removes its axis
        if not isinstance(index, slice):
            X = X.take(index, axis=axis)
        elif index != slice(None):
            X = X.slice(index.start, index.stop, axis, index.step or 1)
    return X

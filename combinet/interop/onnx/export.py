"""From a model to an ONNX graph: each layer by the converter of its forward function."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

import onnx

from combinet.core.model import Model
from combinet.core.node import Forward
from combinet.core.run import Run
from combinet.core.tree import paths
from combinet.errors import CombinetError, InputError
from combinet.interop.onnx.batches import tensors_like, tensors_of, to_arrays
from combinet.interop.onnx.graph import OPSETS, Graph, Sequences, Tensor
from combinet.interop.onnx.layout import Layout
from combinet.interop.wrapped import weights_of
from combinet.storage.file_format import to_host
from combinet.types import Array

_Converter = TypeVar("_Converter", bound=Callable[..., Any])
_converters: dict[Forward, Callable[..., Any]] = {}


def converts(*layers: Model[Any, Any]) -> Callable[[_Converter], _Converter]:
    """Register the function that converts all layers with the forward functions of these.

    It is called as `converter(layer, X, to, *params)`, with all parameters of the layer.
    """

    def register(converter: _Converter) -> _Converter:
        _converters.update((layer.forward, converter) for layer in layers)
        return converter

    return register


class Export:
    """What a `Run` is to a forward pass: `to(layer, X)` is the layer's output, of tensors.

    `lengths` says how the rows of an array are divided into sequences, or is None: all are one.
    """

    def __init__(self, model: Model[Any, Any], graph: Graph) -> None:
        self.graph = graph
        self.op = graph.op
        self.lengths: Tensor | None = None
        self._run = Run(model.ops, model.rng)
        self._paths = {node.id: path for path, node in paths(model).items()}
        self._layouts: dict[str, Layout] = {}

    def __call__(self, layer: Model[Any, Any], X: Any) -> Any:
        """The layer's output for X. Raises InputError if it has no converter."""
        try:
            if layer.forward not in _converters:
                raise InputError(f"{layer.name} has no ONNX form")
            return _converters[layer.forward](layer, X, self, *self.params(layer))
        except CombinetError as error:
            error.within(layer)
            raise

    def with_lengths(self, lengths: Tensor | None) -> Export:
        """The same, where the rows of an array are sequences of these lengths."""
        export = copy(self)
        export.lengths = lengths
        return export

    def lengths_of(self, X: Tensor) -> Tensor:
        """The lengths of the sequences that the rows of X are."""
        return X.size(0) if self.lengths is None else self.lengths

    def sequences(self, X: Any) -> Sequences:
        """X as sequences, which it may be already."""
        return X if isinstance(X, Sequences) else Sequences(X, self.lengths_of(X))

    def layout(self, lengths: Tensor) -> Layout:
        """Where the rows of sequences of these lengths are, computed once."""
        return self._layouts.setdefault(lengths.name, Layout(lengths))

    def params(self, layer: Model[Any, Any]) -> list[Tensor]:
        """The layer's parameters in their standard shapes, named as in `slots_by_path`."""
        return [self.table(layer, *each) for each in weights_of(layer, self._run).items()]

    def table(self, layer: Model[Any, Any], name: str, values: Array) -> Tensor:
        """An array of the layer's, named by the way to the layer."""
        return self.graph.initializer(f"{self._paths[layer.id]}.{name}", to_host(values))


def to_onnx(model: Model[Any, Any], example: Any) -> onnx.ModelProto:
    """The model's prediction as an ONNX graph, to be written by `onnx.save`.

    The example, a batch that the model takes, says what inputs the graph has: `to_arrays(example)`
    names them. How many rows and sequences there are, and how long, is open. Weights have the
    model's dtype and the names of `model.slots_by_path()`; runtimes know float32 best. Dropout is
    off, and checks of the input are gone. Raises InputError, with the path, for a layer that has
    no ONNX form.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> proto = to_onnx(Linear(2, 3).initialize(), np.ones((1, 3), dtype="float32"))
        >>> [node.op_type for node in proto.graph.node]
        ['Gemm', 'Identity']
    """
    expected = model.predict(example)  # what it does not take is refused in its own words
    graph = Graph()
    try:
        X = tensors_like(graph, example)
    except CombinetError as error:
        error.within(model)
        raise
    Y = Export(model, graph)(model, X)
    named = zip(to_arrays(expected, "Y"), tensors_of(Y), strict=True)
    outputs = [graph.op("Identity", tensor, name=name).info for name, tensor in named]
    inputs, initializers = [x.info for x in tensors_of(X)], [*graph.initializers.values()]
    return onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, model.name, inputs, outputs, initializers),
        opset_imports=OPSETS,
        ir_version=onnx.helper.find_min_ir_version_for(OPSETS),
        producer_name="combinet",
    )

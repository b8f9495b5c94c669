"""Conversion of a model to an ONNX graph. The forward function of a layer selects its converter."""

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
    """Registers a function as converter of all layers with the same forward functions as these.

    The converter is called as `converter(layer, X, to, *params)`, with all parameters of the layer.
    """

    def register(converter: _Converter) -> _Converter:
        _converters.update((layer.forward, converter) for layer in layers)
        return converter

    return register


class Export:
    """The state of an export, like `Run` for a pass: `to(layer, X)` returns the layer's output.

    X and the output are batches of tensors. `lengths` are the lengths of the sequences that the
    rows of an array form. None means that all rows are one sequence.
    """

    def __init__(self, model: Model[Any, Any], graph: Graph) -> None:
        self.graph = graph
        self.op = graph.op
        self.lengths: Tensor | None = None
        self._run = Run(model.ops, model.rng)
        self._paths = {node.id: path for path, node in paths(model).items()}
        self._layouts: dict[str, Layout] = {}

    def __call__(self, layer: Model[Any, Any], X: Any) -> Any:
        """Returns the layer's output for X. Raises InputError if the layer has no converter."""
        try:
            if layer.forward not in _converters:
                raise InputError(f"{layer.name} cannot be exported to ONNX")
            return _converters[layer.forward](layer, X, self, *self.params(layer))
        except CombinetError as error:
            error.within(layer)
            raise

    def with_lengths(self, lengths: Tensor | None) -> Export:
        """Returns the same export with other lengths."""
        export = copy(self)
        export.lengths = lengths
        return export

    def lengths_of(self, X: Tensor) -> Tensor:
        """Returns the lengths of the sequences that the rows of X form."""
        return X.size(0) if self.lengths is None else self.lengths

    def sequences(self, X: Any) -> Sequences:
        """Returns X as sequences."""
        return X if isinstance(X, Sequences) else Sequences(X, self.lengths_of(X))

    def layout(self, lengths: Tensor) -> Layout:
        """Returns the layout of sequences with these lengths, made once."""
        return self._layouts.setdefault(lengths.name, Layout(lengths))

    def params(self, layer: Model[Any, Any]) -> list[Tensor]:
        """Returns the layer's parameters in standard shape, with names as in `slots_by_path`."""
        return [self.table(layer, *each) for each in weights_of(layer, self._run).items()]

    def table(self, layer: Model[Any, Any], name: str, values: Array) -> Tensor:
        """Returns an array of the layer as an initializer, named by the layer's path."""
        return self.graph.initializer(f"{self._paths[layer.id]}.{name}", to_host(values))


def to_onnx(model: Model[Any, Any], example: Any) -> onnx.ModelProto:
    """Converts the prediction of a model to an ONNX graph.

    Save the result with `onnx.save`. The numbers of rows and sequences, and the lengths, are
    variable. Weights have the model's dtype and their names from `model.slots_by_path()`. Use
    float32: runtimes support it best. The graph has no dropout and does not check its input.

    Args:
        model: An initialized model.
        example: A batch that the model accepts. `to_arrays(example)` gives the names of the inputs.

    Raises:
        InputError: If a layer cannot be expressed in ONNX. The message contains its path.
        StateError: If the model is not initialized.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> proto = to_onnx(Linear(2, 3).initialize(), np.ones((1, 3), dtype="float32"))
        >>> [node.op_type for node in proto.graph.node]
        ['Gemm', 'Identity']
    """
    expected = model.predict(example)  # the model itself rejects an invalid example
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

"""From a model to an ONNX graph: each layer by the converter of its forward function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, TypeAlias

from combinet.errors import CombinetError, InputError
from combinet.file_format import to_host
from combinet.interop.onnx.batches import inputs, named
from combinet.interop.onnx.graph import OPSETS, Graph, Tensor, onnx
from combinet.interop.onnx.layout import Layout
from combinet.model import Model
from combinet.node import Forward
from combinet.run import Run
from combinet.tree import paths

if TYPE_CHECKING:
    from onnx import ModelProto

Converter: TypeAlias = "Callable[[Any, Any, Export], Any]"


class Export:
    """What a `Run` is to a forward pass: `to(layer, X)` is the layer's output, of tensors.

    `lengths` says how the rows of an array are divided into sequences, or is None: all are one.
    """

    def __init__(
        self, model: Model[Any, Any], graph: Graph, converters: Mapping[Forward, Converter]
    ) -> None:
        self.graph = graph
        self.op = graph.op
        self.lengths: Tensor | None = None
        self._converters = converters
        self._run = Run(model.ops, model.rng)
        self._paths = {node.id: path for path, node in paths(model).items()}
        self._layouts: dict[str, Layout] = {}

    def __call__(self, layer: Model[Any, Any], X: Any) -> Any:
        """The layer's output for X. Raises InputError if it has no converter."""
        try:
            if layer.forward not in self._converters:
                raise InputError(f"{layer.name} has no ONNX form")
            return self._converters[layer.forward](layer, X, self)
        except CombinetError as error:
            error.within(layer)
            raise

    def over(self, lengths: Tensor | None) -> Export:
        """The same, where the rows of an array are sequences of these lengths."""
        twin = copy(self)
        twin.lengths = lengths
        return twin

    def lengths_of(self, X: Tensor) -> Tensor:
        """The lengths of the sequences that the rows of X are."""
        return X.size(0) if self.lengths is None else self.lengths

    def layout(self, lengths: Tensor) -> Layout:
        """Where the rows of sequences of these lengths are, computed once."""
        return self._layouts.setdefault(lengths.name, Layout(lengths))

    def params(self, layer: Model[Any, Any], *names: str) -> list[Tensor]:
        """The layer's parameters in their standard shapes, named as in `slots_by_path`."""
        values = self._run.params(layer, *names)
        return [self.graph.initializer(f"{self.path(layer)}.{name}", to_host(value))
                for name, value in zip(names, values, strict=True)]  # fmt: skip

    def path(self, layer: Model[Any, Any]) -> str:
        """The way to a layer, as in `Model.paths`."""
        return self._paths[layer.id]


def export(
    model: Model[Any, Any], example: Any, converters: Mapping[Forward, Converter]
) -> ModelProto:
    """See `to_onnx`."""
    model.predict(example)  # what it does not take is refused in its own words
    graph = Graph()
    try:
        X = inputs(graph, example)
    except CombinetError as error:
        error.within(model)
        raise
    Y = Export(model, graph, converters)(model, X)
    outputs = []
    for name, tensor in named(Y, "Y").items():
        graph.nodes.append(onnx.helper.make_node("Identity", [tensor.name], [name]))
        outputs.append(onnx.helper.make_value_info(name, tensor.type))
    return onnx.helper.make_model(  # type: ignore[no-any-return]
        onnx.helper.make_graph(
            graph.nodes,
            model.name,
            [onnx.helper.make_value_info(name, x.type) for name, x in named(X, "X").items()],
            outputs,
            list(graph.initializers.values()),
        ),
        opset_imports=OPSETS,
        ir_version=onnx.helper.find_min_ir_version_for(OPSETS),
        producer_name="combinet",
    )

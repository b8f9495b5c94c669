"""What is computed again and again, by a graph within the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnx

from combinet.interop.onnx.graph import Tensor, tensor_type

Step: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def loop(times: Tensor, start: Tensor, step: Step) -> tuple[Tensor, Tensor]:
    """Call `step(i, carried) -> (carried, result)` for i = 0, 1 and so on.

    Gives what is carried in the end, and all results, on a new first axis. What is carried stays
    like `start`. The step may use what has been computed before it; what it computes itself is
    known in there alone.
    """
    graph = start.graph
    int64, truth = (tensor_type(np.dtype(name), []) for name in ("int64", "bool"))
    with graph.subgraph() as nodes:
        i, go, carried = (
            Tensor(graph, graph.new_name("Input"), type) for type in (int64, truth, start.type)
        )
        outputs = [graph.op("Identity", y) for y in (go, *step(i, carried))]
    body = onnx.helper.make_graph(
        nodes, "step", [_info(x) for x in (i, go, carried)], [_info(y) for y in outputs]
    )
    inputs = [x.name for x in (times, graph.constant(True), start)]
    names = [graph.new_name("Loop") for _ in range(2)]
    graph.nodes.append(onnx.helper.make_node("Loop", inputs, names, body=body))
    result = outputs[2]
    types = start.type, tensor_type(result.dtype, [None, *result.shape])
    last, results = (Tensor(graph, name, type) for name, type in zip(names, types, strict=True))
    return last, results


def _info(tensor: Tensor) -> Any:
    return onnx.helper.make_value_info(tensor.name, tensor.type)

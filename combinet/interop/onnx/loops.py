"""What is computed again and again, by a graph within the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

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
        inputs = [Tensor(graph, graph.new_name("Input"), t) for t in (int64, truth, start.type)]
        i, go, carried = inputs
        outputs = [graph.op("Identity", y) for y in (go, *step(i, carried))]
    infos = [x.info for x in inputs], [y.info for y in outputs]
    body = onnx.helper.make_graph(nodes, "step", *infos)
    last = Tensor(graph, graph.new_name("Loop"), start.type)
    result_type = tensor_type(outputs[2].dtype, [None, *outputs[2].shape])
    results = Tensor(graph, graph.new_name("Loop"), result_type)
    names = [times.name, graph.constant(True).name, start.name], [last.name, results.name]
    graph.nodes.append(onnx.helper.make_node("Loop", *names, body=body))
    return last, results

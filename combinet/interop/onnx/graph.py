"""An ONNX graph under construction, built node by node, with tensors of known dtype and shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx.shape_inference import infer_node_outputs

from combinet.types import Array

_VERSIONS = {"": 20, "ai.onnx.ml": 4}  # the first version with Gelu; newer runtimes support it too
OPSETS = [onnx.helper.make_opsetid(*each) for each in _VERSIONS.items()]
_FAR = 2**63 - 1  # beyond the end of every axis
_SMALL = 64  # largest constant that shape inference reads, because it may be a shape


def _operator(op_type: str, **attributes: Any) -> Callable[[Tensor, Any], Tensor]:
    return lambda left, right: left.graph.op(op_type, left, right, **attributes)


class Tensor:
    """A tensor of a graph. Its operators add nodes to the graph."""

    def __init__(self, graph: Graph, name: str, type: Any) -> None:
        self.graph = graph
        self.name = name
        self.type = type  # onnx.TypeProto

    @property
    def info(self) -> Any:
        """The name and the type, an onnx.ValueInfoProto."""
        return onnx.helper.make_value_info(self.name, self.type)

    @property
    def dtype(self) -> Any:
        """The dtype, as in NumPy."""
        return onnx.helper.tensor_dtype_to_np_dtype(self.type.tensor_type.elem_type)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The size of each axis; None if it is known only when the graph runs."""
        dims = self.type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)

    @property
    def width(self) -> int:
        """The number of columns."""
        width = self.shape[-1]
        assert width is not None, f"{self.name} has {self.shape}"
        return width

    def size(self, axis: int) -> Tensor:
        """Returns the size of an axis as a tensor (1,)."""
        axis %= len(self.shape)
        return self.graph.op("Shape", self, start=axis, end=axis + 1)

    def cast(self, dtype: Any) -> Tensor:
        """Returns the same numbers in this dtype."""
        if self.dtype == np.dtype(dtype):
            return self
        return self.graph.op("Cast", self, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, *sizes: int) -> Tensor:
        """Returns the numbers in another shape. 0 keeps the size of an axis; -1 is inferred."""
        return self.graph.op("Reshape", self, sizes)

    def transpose(self, *axes: int) -> Tensor:
        """Returns the tensor with its axes in another order."""
        return self.graph.op("Transpose", self, perm=axes)

    def unsqueeze(self, *axes: int) -> Tensor:
        """Returns the tensor with new axes of size 1."""
        return self.graph.op("Unsqueeze", self, axes)

    def take(self, indices: Tensor | int | Sequence[int], axis: int = 0) -> Tensor:
        """Returns the items at the indices of an axis. A single index removes the axis."""
        return self.graph.op("Gather", self, indices, axis=axis)

    def slice(self, start: Any, stop: Any, axis: int = 0, step: int = 1) -> Tensor:
        """Returns a slice of an axis. The ends are ints, tensors (1,), or None as in NumPy."""
        first, last = (0, _FAR) if step > 0 else (_FAR, -_FAR)
        ends = (first if start is None else start, last if stop is None else stop)
        inputs = [end if isinstance(end, Tensor) else [end] for end in ends]
        result = self.graph.op("Slice", self, *inputs, [axis], [step])
        if isinstance(start, Tensor) or isinstance(stop, Tensor):  # inference would drop all sizes
            sizes = [*self.shape]
            sizes[axis] = None
            result.type = tensor_type(self.dtype, sizes)
        return result

    __add__ = _operator("Add")
    __sub__ = _operator("Sub")
    __mul__ = _operator("Mul")
    __truediv__ = _operator("Div")
    __matmul__ = _operator("MatMul")
    __lt__ = _operator("Less")
    __ge__ = _operator("GreaterOrEqual")
    __and__ = _operator("And")
    __xor__ = _operator("BitwiseXor")
    __rshift__ = _operator("BitShift", direction="RIGHT")


class Sequences(NamedTuple):
    """Several sequences: all rows, one sequence after the other, and the lengths.

    In a graph, a list of arrays, Ragged and Padded all have this form.
    """

    rows: Tensor
    lengths: Tensor


Step: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Graph:
    """The nodes and initializers of a graph. Equal constants are stored once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self._constants: dict[Any, Tensor] = {}
        self._count = 0

    def op(
        self, op_type: str, *inputs: Any, domain: str = "", name: str = "", **attributes: Any
    ) -> Tensor:
        """Adds a node with one output and returns the output. By default it gets a new name.

        Inputs that are not tensors become constants. A float gets the dtype of the float tensors
        among the inputs.
        """
        tensors = [self._tensor(x, inputs) for x in inputs]
        names, name = [x.name for x in tensors], name or self.new_name(op_type)
        node = onnx.helper.make_node(op_type, names, [name], domain=domain, **attributes)
        self.nodes.append(node)
        return Tensor(self, name, self._types(node, tensors)[name])

    def _tensor(self, value: Any, operands: Sequence[Any]) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, float):
            dtypes = [x.dtype for x in operands if isinstance(x, Tensor)]
            value = np.array(value, next(dtype for dtype in dtypes if dtype.kind == "f"))
        return self.constant(value)

    def _types(self, node: Any, inputs: Sequence[Tensor]) -> dict[str, Any]:
        """Returns the types of a node's outputs, inferred from the types of its inputs."""
        schema = onnx.defs.get_schema(node.op_type, _VERSIONS[node.domain], node.domain)
        types = {x.name: x.type for x in inputs}
        known = [self.initializers[name] for name in types if name in self.initializers]
        shapes = {each.name: each for each in known if np.prod(each.dims) <= _SMALL}
        return infer_node_outputs(schema, node, types, shapes, opset_imports=OPSETS)

    @contextmanager
    def subgraph(self) -> Iterator[list[Any]]:
        """Collects the nodes added inside a `with` block in a separate list, without constants."""
        outer, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outer

    def loop(self, times: Tensor, start: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Calls `step(i, carried) -> (carried, result)` for i = 0, 1 and so on.

        Returns the last `carried`, and all results along a new first axis. `carried` keeps the type
        of `start`. The step may use tensors computed before the loop. Tensors computed inside the
        step are not available outside it.
        """
        int64, truth = (tensor_type(np.dtype(name), []) for name in ("int64", "bool"))
        with self.subgraph() as nodes:
            inputs = [Tensor(self, self.new_name("Input"), t) for t in (int64, truth, start.type)]
            i, go, carried = inputs
            outputs = [self.op("Identity", y) for y in (go, *step(i, carried))]
        infos = [x.info for x in inputs], [y.info for y in outputs]
        body = onnx.helper.make_graph(nodes, "step", *infos)
        last = Tensor(self, self.new_name("Loop"), start.type)
        result_type = tensor_type(outputs[2].dtype, [None, *outputs[2].shape])
        results = Tensor(self, self.new_name("Loop"), result_type)
        names = [times.name, self.constant(True).name, start.name], [last.name, results.name]
        self.nodes.append(onnx.helper.make_node("Loop", *names, body=body))
        return last, results

    def new_name(self, op_type: str) -> str:
        """Returns a name that no other value has."""
        self._count += 1
        return f"{op_type}.{self._count}"

    def constant(self, value: Any) -> Tensor:
        """Returns a tensor with a known value."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(self.new_name("Constant"), array)
        return self._constants[key]

    def initializer(self, name: str, array: Array) -> Tensor:
        """Returns a tensor with a known value under this name, or the tensor that has the name."""
        if name not in self.initializers:
            self.initializers[name] = onnx.numpy_helper.from_array(array, name)
        return Tensor(self, name, tensor_type(array.dtype, array.shape))

    def full(self, shape: Tensor, value: Any) -> Tensor:
        """Returns a tensor filled with the number in `value`, an array (1,), in its dtype."""
        return self.op("ConstantOfShape", shape, value=onnx.numpy_helper.from_array(value))


def tensor_type(dtype: Any, shape: Sequence[int | str | None]) -> Any:
    """Returns the type of a tensor. An axis may have a name in place of a size."""
    return onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), shape)

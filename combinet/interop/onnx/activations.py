"""Activations, and formulas step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Tensor
from combinet.layers.dense.activation import ACTIVATIONS
from combinet.layers.dense.elementwise import elementwise
from combinet.layers.dense.relu import relu


def _clipped_linear(
    to: Export, X: Tensor, slope: float, offset: float, min_val: float, max_val: float
) -> Tensor:
    return to.op("Clip", X * slope + offset, min_val, max_val)


def _hard_swish(to: Export, X: Tensor, edge: float) -> Tensor:
    return X * to.op("Clip", X / (2 * edge) + 0.5, 0.0, 1.0)


def _dish(to: Export, X: Tensor) -> Tensor:
    # The rectifier less what it is more than the function, so that no digits cancel.
    size = to.op("Abs", X)
    root = to.op("Sqrt", X * X + 1.0)
    return to.op("Relu", X) - size * 0.5 / (root * (root + size))


# By the names of `layers.activation`, with the settings in its order.
_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "relu": lambda to, X: to.op("Relu", X),
    "gelu": lambda to, X: to.op("Gelu", X),
    "softmax": lambda to, X: to.op("Softmax", X, axis=-1),
    "sigmoid": lambda to, X: to.op("Sigmoid", X),
    "swish": lambda to, X: X * to.op("Sigmoid", X),
    "mish": lambda to, X: to.op("Mish", X),
    "dish": _dish,
    "elu": lambda to, X, alpha, scale: to.op("Selu", X, alpha=alpha, gamma=scale),
    "hard_swish": _hard_swish,
    "clipped_linear": _clipped_linear,
}


@converts(relu())
def activation(model: Any, X: Tensor, to: Export) -> Tensor:
    """The activation that a layer's attrs name."""
    name = model.attrs["activation"]
    settings = [float(model.attrs[each]) for each in ACTIVATIONS[name].settings]
    return _ACTIVATIONS[name](to, X, *settings)


# The operators for the functions of `ops.primitives` that don't have NumPy's name, capitalized.
_FUNCTIONS: dict[str, str | Callable[..., Tensor]] = {
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "positive": "Identity",
    "negative": "Neg",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "absolute": "Abs",
    "expm1": lambda op, a: op("Sub", op("Exp", a), 1.0),
    "log1p": lambda op, a: op("Log", op("Add", a, 1.0)),
    "logaddexp": lambda op, a, b: op(
        "Add", op("Max", a, b), op("Softplus", op("Neg", op("Abs", op("Sub", a, b))))
    ),
    "arcsin": "Asin",
    "arccos": "Acos",
    "arctan": "Atan",
    "arcsinh": "Asinh",
    "arccosh": "Acosh",
    "arctanh": "Atanh",
    "less_equal": "LessOrEqual",
    "not_equal": lambda op, a, b: op("Not", op("Equal", a, b)),
    "logical_and": "And",
    "logical_or": "Or",
    "logical_not": "Not",
}


@converts(elementwise(lambda x: -x))
def _elementwise(model: Any, X: Tensor, to: Export) -> Tensor:
    values = [X]
    output = X
    for name, operands, place in model.attrs["value"].steps:
        # A number of the formula has the dtype of its argument, whatever stands beside it.
        args = [values[a] if isinstance(a, int) else to.graph.constant(X.dtype.type(a))
                for a in operands]  # fmt: skip
        function: Any = _FUNCTIONS.get(name, name.capitalize())
        result = to.op(function, *args) if isinstance(function, str) else function(to.op, *args)
        values.append(result)
        if place == 0:
            output = result
    return output

"""Activations, and formulas step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import combinet as cb
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Tensor
from combinet.layers.dense.activation import ACTIVATIONS

_Op: TypeAlias = Callable[..., Tensor]
_Function: TypeAlias = "str | Callable[..., Tensor]"


def _clipped_linear(
    op: _Op, X: Tensor, slope: float, offset: float, min_val: float, max_val: float
) -> Tensor:
    return op("Clip", X * slope + offset, min_val, max_val)


def _hard_swish(op: _Op, X: Tensor, edge: float) -> Tensor:
    return X * op("Clip", X / (2 * edge) + 0.5, 0.0, 1.0)


def _dish(op: _Op, X: Tensor) -> Tensor:
    # The rectifier less what it is more than the function, so that no digits cancel.
    size = op("Abs", X)
    root = op("Sqrt", X * X + 1.0)
    return op("Relu", X) - size * 0.5 / (root * (root + size))


def _apply(op: _Op, function: _Function, *args: Any) -> Tensor:
    return op(function, *args) if isinstance(function, str) else function(op, *args)


# By the names of `layers.activation`, with the settings in its order; the others are operators
# of the same name, capitalized.
_ACTIVATIONS: dict[str, _Function] = {
    "softmax": lambda op, X: op("Softmax", X, axis=-1),
    "swish": lambda op, X: X * op("Sigmoid", X),
    "dish": _dish,
    "elu": lambda op, X, alpha, scale: op("Selu", X, alpha=alpha, gamma=scale),
    "hard_swish": _hard_swish,
    "clipped_linear": _clipped_linear,
}


@converts(cb.relu())
def activation(model: Any, X: Tensor, to: Export) -> Tensor:
    """The activation that a layer's attrs name."""
    name = model.attrs["activation"]
    settings = [float(model.attrs[each]) for each in ACTIVATIONS[name].settings]
    function = _ACTIVATIONS[name] if name in _ACTIVATIONS else name.capitalize()
    return _apply(to.op, function, X, *settings)


# The operators for the functions of `ops.primitives`, if their names are not those of NumPy,
# capitalized and without "logical_"; an arcsine is an Asin.
_FUNCTIONS: dict[str, _Function] = {
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
    "less_equal": "LessOrEqual",
    "not_equal": lambda op, a, b: op("Not", op("Equal", a, b)),
}


@converts(cb.elementwise(lambda x: -x))
def _elementwise(model: Any, X: Tensor, to: Export) -> Tensor:
    values = [X]
    output = X
    for name, operands, place in model.attrs["value"].steps:
        # A number of the formula has the dtype of its argument, whatever the other operand is.
        args = [values[a] if isinstance(a, int) else to.graph.constant(X.dtype.type(a))
                for a in operands]  # fmt: skip
        operator = name.removeprefix("logical_").replace("arc", "a").capitalize()
        function: _Function = _FUNCTIONS.get(name) or operator
        values.append(_apply(to.op, function, *args))
        if place == 0:
            output = values[-1]
    return output

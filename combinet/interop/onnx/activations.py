"""Activations and formulas."""

from collections.abc import Callable
from typing import Any, TypeAlias

import combinet as cb
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Tensor
from combinet.layers.dense.activation import ACTIVATIONS

_Op: TypeAlias = Callable[..., Tensor]


def _dish(op: _Op, X: Tensor) -> Tensor:
    # The rectifier minus its difference to dish. The direct formula would lose digits.
    size = op("Abs", X)
    root = op("Sqrt", X * X + 1.0)
    return op("Relu", X) - size * 0.5 / (root * (root + size))


# The functions of `layers.dense.activation`, with the settings in that order, and of
# `ops.formulas.primitives` that need more than a change of name. All others become the operator
# with the capitalized name, without "logical_" and with "a" for "arc": arcsin becomes Asin.
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "softmax": lambda op, X: op("Softmax", X, axis=-1),
    "swish": lambda op, X: X * op("Sigmoid", X),
    "dish": _dish,
    "elu": lambda op, X, alpha, scale: op("Selu", X, alpha=alpha, gamma=scale),
    "hard_swish": lambda op, X, edge: X * op("Clip", X / (2 * edge) + 0.5, 0.0, 1.0),
    "clipped_linear": lambda op, X, slope, offset, *ends: op("Clip", X * slope + offset, *ends),
    "positive": lambda op, a: op("Identity", a),
    "expm1": lambda op, a: op("Exp", a) - 1.0,
    "log1p": lambda op, a: op("Log", a + 1.0),
    "logaddexp": lambda op, a, b: op("Max", a, b) + op("Softplus", op("Neg", op("Abs", a - b))),
    "less_equal": lambda op, a, b: op("LessOrEqual", a, b),
    "not_equal": lambda op, a, b: op("Not", op("Equal", a, b)),
}
# Functions that ONNX names by their first three letters.
_SHORT = {"subtract", "multiply", "divide", "negative", "power", "maximum", "minimum", "absolute"}


def _apply(op: _Op, name: str, *args: Any) -> Tensor:
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](op, *args)
    operator = name[:3] if name in _SHORT else name.removeprefix("logical_").replace("arc", "a")
    return op(operator.capitalize(), *args)


@converts(cb.relu())
def activation(model: Any, X: Tensor, to: Export) -> Tensor:
    """Returns the activation that the layer's attrs name."""
    name = model.attrs["activation"]
    return _apply(to.op, name, X, *(float(model.attrs[s]) for s in ACTIVATIONS[name].settings))


@converts(cb.elementwise(lambda x: -x))
def _elementwise(model: Any, X: Tensor, to: Export) -> Tensor:
    values, output = [X], X
    for name, operands, place in model.attrs["value"].steps:
        # A number in the formula gets the dtype of X, even if the other operand has another dtype.
        args = [values[a] if isinstance(a, int) else to.graph.constant(X.dtype.type(a))
                for a in operands]  # fmt: skip
        values.append(_apply(to.op, name, *args))
        if place == 0:
            output = values[-1]
    return output

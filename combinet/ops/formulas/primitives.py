"""The functions that formulas consist of: the code of each, and next to it its derivative.

Functions have their names in NumPy. The code is an expression that is valid in Python and in CUDA.
A derivative is a rule `rule(d, y, *args)` of forward-mode differentiation: y is the value of the
function, and d(a) is the derivative of an argument a. Forward mode costs least for one input. A
rule chooses between two derivatives instead of multiplying each by 0 or 1. So infinities and NaN on
the other side do not spread, as they would in a backward pass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Primitive(NamedTuple):
    """A function: its code, its derivative (None if it has none), and whether it is a condition."""

    code: str
    derivative: Callable[..., Any] | None = None
    truth: bool = False


def _of_log(d: Any, a: Any) -> Any:
    """Returns the derivative of log(a), d(a) / a.

    If a = exp(u), this is d(u). If a = 1 + exp(u), this is the derivative of log1p(exp(u)). Where
    exp(u) overflows, both forms are correct, while d(a) / a would be infinity / infinity.
    """
    op = getattr(a, "op", None)
    if op == "exp":
        return d(a.args[0])
    if op == "add" and isinstance(a.args[1], float) and a.args[1] == 1:
        return _of_log1p(d, a.args[0])
    return d(a) / a


def _of_log1p(d: Any, a: Any) -> Any:
    """Returns the derivative of log(1 + a), d(a) / (1 + a).

    If a = exp(u), this is d(u) * a / (1 + a) = d(u) / (1 + 1 / a), which is correct where a
    overflows.
    """
    if getattr(a, "op", None) == "exp":
        return d(a.args[0]) / (1 + 1 / a)
    return d(a) / (1 + a)


# log(exp(a) + exp(b)) without overflow. Equal arguments may be infinite, and inf - inf is NaN.
_LOGADDEXP = "maximum({0}, {1}) + log1p(exp(-where({0} == {1}, T(0), fabs({0} - {1}))))"

# At a kink, the rules take the derivative of the second argument. If an argument is a number, it is
# the second: the derivative of np.maximum(x, 0) at 0 is 0, like the derivative of `relu`.
PRIMITIVES = {
    "add": Primitive("{} + {}", lambda d, y, a, b: d(a) + d(b)),
    "subtract": Primitive("{} - {}", lambda d, y, a, b: d(a) - d(b)),
    "multiply": Primitive("{} * {}", lambda d, y, a, b: d(a) * b + d(b) * a),
    # The quotient rule, d(a) / b - y * d(b) / b, in terms of the derivative of log(b).
    "divide": Primitive("{} / {}", lambda d, y, a, b: d(a) / b - _of_log(d, b) * y),
    "positive": Primitive("+{}", lambda d, y, a: d(a)),
    "negative": Primitive("-{}", lambda d, y, a: -d(a)),
    # Where a is 0, y * log(a) is 0 in the limit (b > 0), but 0 * -inf would be NaN.
    "power": Primitive("pow({}, {})", lambda d, y, a, b: d(a) * (b * a ** (b - 1))
                       + d(b) * (y * np.log(np.where(a == 0, 1, a)))),
    "maximum": Primitive("maximum({}, {})", lambda d, y, a, b: np.where(a > b, d(a), d(b))),
    "minimum": Primitive("minimum({}, {})", lambda d, y, a, b: np.where(a < b, d(a), d(b))),
    "where": Primitive("where({}, {}, {})", lambda d, y, c, a, b: np.where(c, d(a), d(b))),
    "absolute": Primitive("fabs({})", lambda d, y, a: d(a) * np.sign(a)),
    "sign": Primitive("sign({})"),
    "sqrt": Primitive("sqrt({})", lambda d, y, a: d(a) * 0.5 / y),
    "exp": Primitive("exp({})", lambda d, y, a: d(a) * y),
    "expm1": Primitive("expm1({})", lambda d, y, a: d(a) * np.exp(a)),
    "log": Primitive("log({})", lambda d, y, a: _of_log(d, a)),
    "log1p": Primitive("log1p({})", lambda d, y, a: _of_log1p(d, a)),
    "logaddexp": Primitive(_LOGADDEXP, lambda d, y, a, b: d(a) / (1 + np.exp(b - a))
                           + d(b) / (1 + np.exp(a - b))),
    "sin": Primitive("sin({})", lambda d, y, a: d(a) * np.cos(a)),
    "cos": Primitive("cos({})", lambda d, y, a: -(d(a) * np.sin(a))),
    "tan": Primitive("tan({})", lambda d, y, a: d(a) * (1 + y * y)),
    # (1 - a) * (1 + a) is 1 - a * a, without cancellation near 1.
    "arcsin": Primitive("asin({})", lambda d, y, a: d(a) / np.sqrt((1 - a) * (1 + a))),
    "arccos": Primitive("acos({})", lambda d, y, a: -(d(a) / np.sqrt((1 - a) * (1 + a)))),
    "arctan": Primitive("atan({})", lambda d, y, a: d(a) / (1 + a * a)),
    "sinh": Primitive("sinh({})", lambda d, y, a: d(a) * np.cosh(a)),
    "cosh": Primitive("cosh({})", lambda d, y, a: d(a) * np.sinh(a)),
    "tanh": Primitive("tanh({})", lambda d, y, a: d(a) * (1 - y * y)),
    "arcsinh": Primitive("asinh({})", lambda d, y, a: d(a) / np.sqrt(1 + a * a)),
    "arccosh": Primitive("acosh({})", lambda d, y, a: d(a) / np.sqrt((a - 1) * (a + 1))),
    "arctanh": Primitive("atanh({})", lambda d, y, a: d(a) / ((1 - a) * (1 + a))),
    "less": Primitive("{} < {}", truth=True),
    "less_equal": Primitive("{} <= {}", truth=True),
    "equal": Primitive("{} == {}", truth=True),
    "not_equal": Primitive("{} != {}", truth=True),
    "logical_and": Primitive("{} & {}", truth=True),
    "logical_or": Primitive("{} | {}", truth=True),
    "logical_not": Primitive("logical_not({})", truth=True),
}  # fmt: skip
LOGIC = {"logical_and", "logical_or", "logical_not"}  # functions of conditions

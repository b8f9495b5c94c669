"""Formulas of one variable: a Python function called with an `Expression` builds a larger one.

What has no meaning for one element, or would not show in the formula, raises InputError, which says
what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, NoReturn

import numpy as np

from combinet.errors import InputError, describe
from combinet.ops.formulas.primitives import LOGIC, PRIMITIVES

_numbers = count()


class Nothing:
    """The derivative of a constant: sums and products leave it out."""

    __array_ufunc__ = None  # NumPy's numbers leave the operators to it

    def __add__(self, other: Any) -> Any:
        return other

    def __sub__(self, other: Any) -> Any:
        return -other

    def __mul__(self, *other: Any) -> Nothing:
        return self

    __radd__ = __rsub__ = __add__
    __rmul__ = __truediv__ = __neg__ = __mul__


NOTHING = Nothing()


def _operator(op: str) -> Callable[..., Any]:
    """The method of an operator of one operand or two."""

    def method(*operands: Any) -> Any:
        return NotImplemented if operands[-1] is NOTHING else function(op)(*operands)

    return method


def _binary(op: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The methods of an operator and of its reflected form."""
    return _operator(op), lambda b, a: function(op)(a, b)


class Expression:
    """A function of other expressions and of floats, `op` of `args`; the variable's op is "x".

    Numbers grow: an expression's is above those of its parts.
    """

    __slots__ = ("args", "number", "op", "truth")
    __hash__ = object.__hash__

    def __init__(self, op: str, *args: Any) -> None:
        self.op = op
        self.args = args
        self.number = next(_numbers)
        self.truth = op in PRIMITIVES and PRIMITIVES[op].truth

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __pow__, __rpow__ = _binary("power")
    __and__, __rand__ = _binary("logical_and")
    __or__, __ror__ = _binary("logical_or")
    __lt__, __gt__ = _binary("less")  # a > b is b < a
    __le__, __ge__ = _binary("less_equal")
    __eq__ = _operator("equal")
    __ne__ = _operator("not_equal")
    __neg__ = _operator("negative")
    __pos__ = _operator("positive")
    __abs__ = _operator("absolute")
    __invert__ = _operator("logical_not")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            raise InputError(f"np.{ufunc.__name__} takes its arguments here and nothing else")
        return function(ufunc.__name__)(*args)

    def __array_function__(self, called: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(called.__name__)(*args, **kwargs)

    def __bool__(self) -> NoReturn:
        raise InputError(
            "whether a condition on the argument holds is not known yet; instead of if, and, or, "
            "not, min, max write np.where, &, |, ~, np.minimum, np.maximum"
        )

    def __float__(self) -> NoReturn:
        raise InputError("the argument is no Python number; instead of math.exp write np.exp")

    __int__ = __index__ = __complex__ = __float__

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"x stands for one element, which has no .{name}: see np.{name}")


def function(name: str) -> Callable[..., Any]:
    """The function of expressions that has this name in NumPy."""
    if name not in _FUNCTIONS:
        raise InputError(f"np.{name} is none of {', '.join(sorted(_FUNCTIONS))}")
    return _FUNCTIONS[name]


def apply(op: str, *args: Any) -> Any:
    """The expression of a function of the table."""
    args = tuple(map(_operand, args))
    if op not in LOGIC:
        args = _numeric(op, *args)
    elif not all(getattr(arg, "truth", False) for arg in args):
        raise InputError(f"np.{op} takes conditions, such as x > 0")
    if op in ("add", "multiply", "maximum", "minimum") and isinstance(args[0], float):
        args = args[::-1]
    if op in ("multiply", "divide") and isinstance(args[1], float) and args[1] == 1:
        return args[0]
    if op == "negative" and args[0].op == "negative":
        return args[0].args[0]
    return Expression(op, *args)


def _operand(value: Any) -> Any:
    """An expression as it is; a number as a float of Python, which takes the variable's dtype."""
    if isinstance(value, Expression):
        return value
    if value is NOTHING:
        return 0.0
    if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf":
        return float(value)
    raise InputError(f"a formula is of its argument and of numbers, not of {describe(value)}")


def _numeric(op: str, *args: Any) -> tuple[Any, ...]:
    """The arguments with 1 and 0 for conditions, which count as numbers beside a number only."""
    conditions = [getattr(arg, "truth", False) for arg in args]
    if all(conditions):
        raise InputError(
            f"np.{op} takes numbers, not conditions alone: these have &, |, ~, and np.where"
        )
    return tuple(Expression("where", arg, 1.0, 0.0) if condition else arg
                 for arg, condition in zip(args, conditions, strict=True))  # fmt: skip


# -- functions made of those of the table ------------------------------------------------------


def _where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, Expression):
        return a if condition else b
    if a is NOTHING and b is NOTHING:
        return NOTHING
    a, b = _numeric("where", _operand(a), _operand(b))
    return Expression("where", condition if condition.truth else condition != 0, a, b)


def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    a = a if a_min is None else np.maximum(a, a_min)
    return a if a_max is None else np.minimum(a, a_max)


_POWERS: dict[float, Callable[[Any], Any]] = {
    -1.0: lambda a: 1 / a,
    0.0: lambda a: 1.0,
    0.5: np.sqrt,
    1.0: lambda a: a,
    2.0: lambda a: a * a,
    3.0: lambda a: a * a * a,
    4.0: lambda a: (a * a) * (a * a),
}


def _power(a: Any, b: Any) -> Any:
    b = _operand(b)
    return _POWERS[b](a) if isinstance(b, float) and b in _POWERS else apply("power", a, b)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: partial(apply, name) for name in PRIMITIVES},
    "where": _where,
    "clip": _clip,
    "power": _power,
    "greater": lambda a, b: apply("less", b, a),
    "greater_equal": lambda a, b: apply("less_equal", b, a),
    "square": _POWERS[2.0],
    "reciprocal": _POWERS[-1.0],
    "bitwise_and": partial(apply, "logical_and"),
    "bitwise_or": partial(apply, "logical_or"),
    "invert": partial(apply, "logical_not"),
}

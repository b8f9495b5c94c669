"""Turns a Python function of one element into a list of steps, and differentiates it."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.errors import InputError, describe
from combinet.ops.formulas.expression import NOTHING, Expression
from combinet.ops.formulas.primitives import PRIMITIVES

# The name and the source text of each step, and the names of the outputs.
Code: TypeAlias = "tuple[tuple[tuple[str, str], ...], tuple[str, ...]]"


def trace(name: str, function: Callable[[Any], Any]) -> Any:
    """Returns the formula of a function: an `Expression`, or a float if it is constant.

    Raises:
        InputError: If the function is not a formula. The message begins with `name`.
    """
    try:
        with np.errstate(all="ignore"):  # warnings are useless before there are elements
            Y, again = function(Expression("x")), function(Expression("x"))
    except Exception as error:
        why = error.message if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{name} is not a valid formula: {why}") from error
    if isinstance(Y, Expression) and Y.truth:
        raise InputError(f"{name} expected a function that returns a number, got a condition")
    if not isinstance(Y, Expression | int | float | np.number):
        raise InputError(f"{name} expected a function that returns a number, got {describe(Y)}")
    programs = Program(Y), Program(again)
    if len({repr((each.code, each.results)) for each in programs}) > 1:
        raise InputError(
            f"{name} expected a function that does the same at each call, got one that draws "
            f"random numbers or keeps a state"
        )
    return Y if isinstance(Y, Expression) else float(Y)


def differentiate(Y: Any) -> Any:
    """Returns the derivative with respect to the variable: an expression, or a float.

    This is forward-mode differentiation: one rule per step, in the order of evaluation.
    """
    derivatives: dict[int, Any] = {}

    def d(a: Any) -> Any:
        return derivatives[a.number] if isinstance(a, Expression) else NOTHING

    with np.errstate(all="ignore"):
        for each in _subexpressions(Y):
            if each.op == "x":
                derivatives[each.number] = 1.0
            else:
                rule = PRIMITIVES[each.op].derivative
                derivatives[each.number] = rule(d, each, *each.args) if rule else NOTHING
    return 0.0 if d(Y) is NOTHING else d(Y)


def _subexpressions(*outputs: Any) -> list[Expression]:
    """Returns all expressions that the outputs consist of, each after its arguments."""
    found: dict[int, Expression] = {}
    waiting = [*outputs]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Expression) and each.number not in found:
            found[each.number] = each
            waiting += each.args
    return [found[number] for number in sorted(found)]


class Step(NamedTuple):
    """One step of a program: a function of `PRIMITIVES`, its operands and its place.

    An int operand is the number of a value: 0 is x, and 1 is the result of the first step. A float
    is a constant. `place` is the number of the array for the result: first the outputs, then the
    work arrays.
    """

    op: str
    operands: tuple[int | float, ...]
    place: int


class Program:
    """Steps that compute expressions of one variable, each value only once.

    `results` has one entry per expression: the number of its output, or a float if it is constant.
    `work` has one entry per work array: whether it holds conditions instead of floats.
    """

    def __init__(self, *expressions: Any) -> None:
        # Only steps write outputs, so an output that is x itself becomes the step +x.
        wanted = [np.positive(y) if getattr(y, "op", None) == "x" else y for y in expressions]
        numbers: dict[int, int] = {}  # of values, by expression number
        known: dict[str, int] = {}
        steps: list[tuple[str, tuple[int | float, ...]]] = []
        for each in _subexpressions(*wanted):
            operands = tuple(numbers[a.number] if isinstance(a, Expression) else a
                             for a in each.args)  # fmt: skip
            key = f"{each.op}{operands}"  # distinguishes -0.0 from 0.0, and 1.0 from 1
            if key not in known:
                known[key] = len(known)
                steps.append((each.op, operands))
            numbers[each.number] = known[key]
        values = [numbers[y.number] if isinstance(y, Expression) else y for y in wanted]
        outputs = list(dict.fromkeys(value for value in values if isinstance(value, int)))
        self.results = [outputs.index(y) if isinstance(y, int) else y for y in values]
        self.outputs = len(outputs)
        self.work: list[bool] = []
        self.steps = self._placed(steps[1:], outputs)

    def _placed(self, steps: list[Any], outputs: list[int]) -> list[Step]:
        """Assigns an array to each result. A work array is free after the last use of its value."""
        last = {a: i for i, (_, operands) in enumerate(steps) for a in operands
                if isinstance(a, int)}  # fmt: skip
        places = {value: outputs.index(value) for value in outputs}
        free: dict[bool, list[int]] = {True: [], False: []}
        placed = []
        for i, (op, operands) in enumerate(steps):
            for a in {a for a in operands if isinstance(a, int) and last[a] == i} - {0, *outputs}:
                free[PRIMITIVES[steps[a - 1][0]].truth].append(places[a])
            truth = PRIMITIVES[op].truth
            if i + 1 not in places:
                if not free[truth]:
                    free[truth].append(len(outputs) + len(self.work))
                    self.work.append(truth)
                places[i + 1] = free[truth].pop()
            placed.append(Step(op, operands, places[i + 1]))
        return placed

    @cached_property
    def code(self) -> Code:
        """The steps as source text that Python and CUDA share.

        The variable is x, and T is its type. The loop that contains the text must define the
        functions.
        """
        names, lines = ["x"], []
        outputs = [""] * self.outputs
        for i, (op, operands, place) in enumerate(self.steps, 1):
            args = [names[a] if isinstance(a, int) else f"T({a!r})" for a in operands]
            names.append(f"v{i}")
            lines.append((names[i], PRIMITIVES[op].code.format(*args)))
            if place < self.outputs:
                outputs[place] = names[i]
        return tuple(lines), tuple(outputs)

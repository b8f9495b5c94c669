"""From a Python function of one element to a list of steps, with or without its derivative."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.errors import InputError, describe
from combinet.ops.formulas.expression import NOTHING, Expression
from combinet.ops.formulas.primitives import PRIMITIVES

# A name and an expression for each step, and the names of the outputs.
Code: TypeAlias = "tuple[tuple[tuple[str, str], ...], tuple[str, ...]]"


def trace(name: str, function: Callable[[Any], Any]) -> Any:
    """What a function makes of its argument: an `Expression`, or a float if it does not use it.

    Raises InputError, which begins with the name, if it is not a formula of its argument alone.
    """
    try:
        with np.errstate(all="ignore"):  # warnings are about numbers, which come later
            Y, again = function(Expression("x")), function(Expression("x"))
    except Exception as error:
        why = error.message if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{name} cannot be read as a formula: {why}") from error
    if isinstance(Y, Expression) and Y.truth:
        raise InputError(f"{name} takes a function that returns a number, not a condition")
    if not isinstance(Y, Expression | int | float | np.number):
        raise InputError(f"{name} takes a function that returns a number, not {describe(Y)}")
    programs = Program(Y), Program(again)
    if len({repr((each.code, each.results)) for each in programs}) > 1:
        raise InputError(
            f"{name} takes a function that does the same at each call: this one draws random "
            f"numbers or keeps a state"
        )
    return Y if isinstance(Y, Expression) else float(Y)


def differentiate(Y: Any) -> Any:
    """The derivative of an expression with respect to the variable: an expression, or a float."""
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
    """All that the outputs are made of, each after its own parts."""
    found: dict[int, Expression] = {}
    waiting = [*outputs]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Expression) and each.number not in found:
            found[each.number] = each
            waiting += each.args
    return [found[number] for number in sorted(found)]


class Step(NamedTuple):
    """A function of the table, of floats and of values by number: 0 is x, the first step's is 1.

    `place` is the number of the array for the result: first the outputs, then those to work in.
    """

    op: str
    operands: tuple[int | float, ...]
    place: int


class Program:
    """Steps that compute expressions of one variable, no value twice.

    `results` says of each expression which output it is, by number, or what float. The arrays to
    work in hold conditions where `work` is true, else floats.
    """

    def __init__(self, *expressions: Any) -> None:
        wanted = [np.positive(y) if getattr(y, "op", None) == "x" else y for y in expressions]
        numbers: dict[int, int] = {}  # of values, by the number of the expression
        known: dict[str, int] = {}
        steps: list[tuple[str, tuple[int | float, ...]]] = []
        for each in _subexpressions(*wanted):
            operands = tuple(numbers[a.number] if isinstance(a, Expression) else a
                             for a in each.args)  # fmt: skip
            key = f"{each.op}{operands}"  # tells -0.0 from 0.0, and 1.0 from 1
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
        """The steps with a place for each result, which is free again after the last use."""
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
        """The steps as a loop over elements has them, in Python and in CUDA.

        The variable is x, its type T; what the names of functions mean, the loop must know.
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

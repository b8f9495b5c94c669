"""Formulas as loops that Numba compiles. Imported when the first is needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from combinet.ops.formulas.program import Code, Program
from combinet.ops.formulas.vectorized import compiled, functions
from combinet.types import Floats


def run_loop(program: Program, X: Floats, *outputs: Floats) -> None:
    """Write the program's outputs: flat arrays, all of float32 or all of float64."""
    real: Any = X.dtype.type
    _loop(program.code, real)(X, *outputs)


@cache
def _loop(code: Code, real: Any) -> Callable[..., None]:
    """The loop of a program's code, compiled when it is first called.

    It is compiled once in a process: Numba's cache on disk wants functions that stand in a file.
    """
    lines, outputs = code
    names = [f"Y{k}" for k in range(len(outputs))]
    source = [
        f"def loop({', '.join(['X', *names])}):",
        "    for i in range(X.shape[0]):",
        "        x = X[i]",
        *(f"        {name} = {value}" for name, value in lines),
        *(f"        {name}[i] = {value}" for name, value in zip(names, outputs, strict=True)),
    ]
    known = dict(functions(real))
    exec("\n".join(source), known)
    return compiled(known["loop"])

"""Formulas as loops that Numba compiles. Imported when the first is needed."""

from __future__ import annotations

from functools import cache
from typing import Any

from combinet.ops.formulas.program import Code
from combinet.ops.formulas.vectorized import compiled, functions


@cache
def loop(code: Code, real: Any) -> Any:
    """The loop (X, outputs...) of a program's code, over flat arrays of the type `real`.

    It is compiled once in a process, when it is first called: Numba's cache on disk wants functions
    that stand in a file.
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
    known = {**functions(real)}
    exec("\n".join(source), known)
    return compiled(known["loop"])

"""Formulas as loops that Numba compiles. Imported when the first formula needs one."""

from functools import cache
from typing import Any

from combinet.ops.formulas.program import Code
from combinet.ops.formulas.vectorized import compiled, functions


@cache
def loop(code: Code, real: Any) -> Any:
    """Returns the loop (X, outputs...) of a program's code over flat arrays of the type `real`.

    Numba compiles it at the first call, once per process. Its cache on disk cannot be used, because
    it needs functions in files.
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

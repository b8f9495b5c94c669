"""Formulas element by element: a `Program` on an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.ops.formulas.program import Program
from combinet.types import Floats


class ElementwiseOps(ArrayOps):
    """Mixed into `Ops`: what a layer made of a formula computes."""

    def elementwise(self, program: Program, X: Floats) -> list[Any]:
        """What the program's expressions are at each element of X; a float where one is constant.

        Nobody is warned of what overflows or is not defined: a GPU does not warn either.
        """
        outputs = [self.xp.empty(X.shape, dtype=X.dtype) for _ in range(program.outputs)]
        if X.size:
            self.run_program(program, X.reshape(-1), *(Y.reshape(-1) for Y in outputs))
        return [outputs[r] if isinstance(r, int) else r for r in program.results]

    def run_program(self, program: Program, X: Floats, *outputs: Floats) -> None:
        """Write the program's outputs, flat arrays, block by block: the work stays in the cache."""
        size = min(self.block or X.size, X.size)
        work = [self.xp.empty(size, dtype=bool if truth else X.dtype) for truth in program.work]
        with np.errstate(all="ignore"):
            for start in range(0, X.size, size):
                block = slice(start, start + size)
                x = X[block]
                values = [x]
                places = [Y[block] for Y in outputs] + [array[: x.size] for array in work]
                for op, operands, place in program.steps:
                    args = [values[a] if isinstance(a, int) else a for a in operands]
                    if op == "where":  # which takes no `out`
                        places[place][...] = self.xp.where(*args)
                    else:
                        getattr(self.xp, op)(*args, out=places[place])
                    values.append(places[place])

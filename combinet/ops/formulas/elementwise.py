"""Formulas on arrays: runs a `Program` element by element."""

from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.ops.formulas.program import Program
from combinet.types import Floats


class ElementwiseOps(ArrayOps):
    """Part of `Ops`: evaluates the formula of an `elementwise` layer."""

    def elementwise(self, program: Program, X: Floats) -> list[Any]:
        """Returns the value of each expression of a `program` at each element of X.

        X is an array of any shape. Each result is an array like X, or a float if the expression is
        constant. Overflow and undefined values cause no warnings, as on a GPU.
        """
        outputs = [self.xp.empty(X.shape, dtype=X.dtype) for _ in range(program.outputs)]
        if X.size:
            self.run_program(program, X.reshape(-1), *(Y.reshape(-1) for Y in outputs))
        return [outputs[r] if isinstance(r, int) else r for r in program.results]

    def run_program(self, program: Program, X: Floats, *outputs: Floats) -> None:
        """Writes the values of a `program` at each element of X into `outputs`.

        X and all `outputs` are flat arrays of the same size. On the CPU the steps process one block
        of elements after the other, so that temporaries stay in the cache.
        """
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
                    if op == "where":  # np.where has no argument `out`
                        places[place][...] = self.xp.where(*args)
                    else:
                        getattr(self.xp, op)(*args, out=places[place])
                    values.append(places[place])

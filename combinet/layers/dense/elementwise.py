"""An activation from a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run, no_backprop
from combinet.core.shape_rules import preserves
from combinet.errors import InputError, describe
from combinet.ops.formulas.program import Program, differentiate, trace
from combinet.types import Floats


def elementwise(
    function: Callable[[Any], Any],
    derivative: Callable[[Any], Any] | None = None,
    *,
    name: str | None = None,
) -> Model[Floats, Floats]:
    """An activation from a formula: Y = function(X), element by element, for floats of any shape.

    The function is one of a single number, written with arithmetic, comparisons (joined by &, |
    and ~) and NumPy's functions, `np.where` among them. It is called when the layer is made, with
    a stand-in for its argument; what else it reads is constant from then on. Its derivative is
    computed (forward-mode differentiation: value and derivative of each step together), or given
    as a second function of the same kind.

    Y has X's dtype. On a GPU the formula is one kernel, on the CPU one loop compiled by Numba; the
    first call in a process compiles it. Without Numba, and for powers and circular functions, it
    is NumPy step by step, in blocks that fit the cache.

    The values are those of the formula as it is written, infinite or NaN where a part of it is:
    x * np.exp(-x) at -inf. Derivatives stay right where exp(u) overflows in 1 + exp(u), and a side
    of `np.where` that is not taken does not affect them. At a kink the derivative is that of one
    side: of np.maximum(x, 0) at 0 it is 0, as that of `relu`.

    The formula is not saved: it is a part of the code. Raises InputError if the function is no such
    formula: has an `if`, calls `math.exp`, draws random numbers, does not depend on its argument.

    Example:
        >>> import numpy as np
        >>> softsign = elementwise(lambda x: x / (1 + np.abs(x)), name="softsign")
        >>> Y, backprop = softsign.begin_update(np.array([-1.0, 0.0, 3.0]))
        >>> Y, backprop(np.ones(3))
        (array([-0.5 ,  0.  ,  0.75]), array([0.25  , 1.    , 0.0625]))
    """
    if isinstance(function, Model) or not callable(function):
        raise InputError(f"elementwise takes a function of one number, not {describe(function)}")
    if isinstance(derivative, Model) or not (derivative is None or callable(derivative)):
        raise InputError(f"elementwise takes a function as derivative, not {describe(derivative)}")
    name = str(name or getattr(function, "__name__", type(function).__name__))
    Y = trace(name, function)
    if isinstance(Y, float):
        raise InputError(f"{name} takes a function that depends on its argument, not always {Y}")
    dY = differentiate(Y) if derivative is None else trace(f"the derivative of {name}", derivative)
    attrs = {"value": Program(Y), "value_and_derivative": Program(Y, dY)}
    return Model(name, _elementwise, attrs=attrs, accepts="floats", widths=preserves)


def _elementwise(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    if not run.train:
        return run.ops.elementwise(model.attrs["value"], X)[0], no_backprop
    Y, S = run.ops.elementwise(model.attrs["value_and_derivative"], X)
    return Y, lambda dY: dY * S

"""An activation from a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from combinet.errors import InputError, describe
from combinet.model import Model
from combinet.ops.program import Program, slope, trace
from combinet.run import Run, no_backprop
from combinet.types import Floats
from combinet.widths import same_widths


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
    computed (forward-mode differentiation: value and slope of each step together), or given as a
    second function of the same kind.

    Y has X's dtype. Numba compiles the formula to one loop where it is installed, CuPy to one
    kernel; this is done at the first call in each process. The values are those of the formula
    as it is written: where a part of it overflows or is not defined, they can be infinite or NaN.
    A side of `np.where` that is not taken has no say in the slope. At a kink, the slope is that of
    one of its sides: at 0, np.maximum(x, 0) has 0, as `relu` has.

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
    if derivative is not None and not callable(derivative):
        raise InputError(f"elementwise takes a function as derivative, not {describe(derivative)}")
    name = str(name or getattr(function, "__name__", type(function).__name__))
    Y = trace(name, function)
    if isinstance(Y, float):
        raise InputError(f"{name} takes a function that depends on its argument, not always {Y}")
    dY = slope(Y) if derivative is None else trace(f"the derivative of {name}", derivative)
    attrs = {"value": Program(Y), "value_and_slope": Program(Y, dY)}
    return Model(name, _elementwise, attrs=attrs, takes="floats", widths=same_widths)


def _elementwise(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    if not run.train:
        return run.ops.elementwise(model.attrs["value"], X)[0], no_backprop
    Y, S = run.ops.elementwise(model.attrs["value_and_slope"], X)
    return Y, lambda dY: dY * S

"""Activations from formulas."""

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
    """Makes an activation from a formula: Y = function(X), element by element.

    The input is an array of floats of any shape. The output has the same shape and dtype.

    The function is called once, when the layer is made, with a symbolic argument that records the
    formula. It can use arithmetic, comparisons (joined by &, | and ~) and NumPy's functions,
    including `np.where`. Any other value that it reads is constant from then on. Forward-mode
    differentiation computes the value and the derivative of each step together, unless you pass the
    derivative as a second function.

    On a GPU, the formula is one kernel. On the CPU, it is one loop compiled by Numba. The first
    call in a process compiles it. NumPy computes the formula step by step, in blocks that fit into
    the cache, if Numba is not installed or if the formula contains a trigonometric function, a
    hyperbolic function other than tanh, or a power with an exponent other than -1, 0.5, 2, 3 or 4.

    The values follow the formula as written: x * np.exp(-x) is NaN at infinity, because one of its
    steps is infinity times 0. Derivatives are correct where exp(u) overflows in 1 + exp(u), and the
    side of `np.where` that is not chosen does not affect them. At a kink, the derivative is the
    derivative of one side: it is 0 for np.maximum(x, 0) at 0, as for `relu`.

    The formula is not saved, because it is part of the code.

    Args:
        function: Function of one number that computes the value.
        derivative: Function of one number that computes the derivative. Computed from `function` if
            None.
        name: Name of the layer. The name of the function if None.

    Raises:
        InputError: If the function is not such a formula. For example, it contains an `if`, calls
            `math.exp`, draws random numbers, or does not depend on its argument.

    Example:
        >>> import numpy as np
        >>> softsign = elementwise(lambda x: x / (1 + np.abs(x)), name="softsign")
        >>> Y, backprop = softsign.begin_update(np.array([-1.0, 0.0, 3.0]))
        >>> Y, backprop(np.ones(3))
        (array([-0.5 ,  0.  ,  0.75]), array([0.25  , 1.    , 0.0625]))
    """
    if isinstance(function, Model) or not callable(function):
        raise InputError(f"elementwise expected a function of one number, got {describe(function)}")
    if isinstance(derivative, Model) or not (derivative is None or callable(derivative)):
        raise InputError(f"elementwise expected a derivative function, got {describe(derivative)}")
    name = str(name or getattr(function, "__name__", type(function).__name__))
    Y = trace(name, function)
    if isinstance(Y, float):
        raise InputError(f"{name} expected a function of its argument, got the constant {Y}")
    dY = differentiate(Y) if derivative is None else trace(f"the derivative of {name}", derivative)
    attrs = {"value": Program(Y), "value_and_derivative": Program(Y, dY)}
    return Model(name, _elementwise, attrs=attrs, accepts="floats", widths=preserves)


def _elementwise(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    if not run.train:
        return run.ops.elementwise(model.attrs["value"], X)[0], no_backprop
    Y, S = run.ops.elementwise(model.attrs["value_and_derivative"], X)
    return Y, lambda dY: dY * S

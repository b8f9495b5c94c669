"""What all losses share: their surface, and the checks of what they are called with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.types import Floats


class Loss:
    """The base of the losses: `loss(guesses, truths)` returns (gradient, value).

    The gradient has the form of the guesses and is the derivative of the value by them. The value
    is an array without axes: on a GPU, reading it is the only wait. A subclass defines `__call__`;
    `scale(n)` is 1 / n with `normalize`, else 1.

    Example:
        >>> import numpy as np
        >>> from combinet import L2Distance
        >>> L2Distance().get_loss(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])).item()
        2.0
    """

    def __init__(self, *, normalize: bool = True) -> None:
        self.normalize = normalize

    def __call__(self, guesses: Any, truths: Any) -> tuple[Any, Floats]:
        """The gradient and the value."""
        raise NotImplementedError

    def get_grad(self, guesses: Any, truths: Any = None) -> Any:
        """The gradient alone."""
        return self(guesses, truths)[0]

    def get_loss(self, guesses: Any, truths: Any = None) -> Floats:
        """The value alone."""
        return self(guesses, truths)[1]

    def scale(self, n: int) -> float:
        """What a sum over n rows is multiplied by."""
        return 1 / max(1, n) if self.normalize else 1.0


def check_floats(X: Any, what: str, ndim: int | None = None, remedy: str = "") -> Ops:
    """The Ops of an array of floats. Raises InputError if X is none, or has other axes."""
    ops = get_array_ops(X)
    if not (ops.is_array(X) and X.dtype.kind == "f" and (X.ndim == ndim if ndim else X.ndim > 0)):
        shape = "(n, k)" if ndim == 2 else "of any shape"
        raise InputError(f"{what} are floats {shape}, not {describe(X)}{remedy}")
    return ops


def check_probabilities(
    name: str, P: Any, value: Any, source: str = "as Softmax gives them", most: float = math.inf
) -> None:
    """Raise InputError if guesses are no probabilities, as scores before a softmax are not.

    Nobody looks at them while the value is what probabilities give, from 0 to below `most`; nor
    on a GPU, where reading it is a wait.
    """
    looks_wrong = isinstance(P, np.ndarray) and not 0 <= value < most
    if looks_wrong and ((P < 0).any() or (P > 1.01).any()):  # a sum may round to more than 1
        raise InputError(
            f"{name} takes probabilities, {source}, not numbers from {P.min():.4g} to {P.max():.4g}"
        )


def as_targets(truths: Any, guesses: Any, ops: Ops) -> Any:
    """The truths as floats on the guesses' device. Raises unless they have the same shape."""
    truths = ops.asarray(truths)
    if truths.dtype.kind not in "fiub":
        raise InputError(f"truths for {describe(guesses)} are numbers, not {describe(truths)}")
    if tuple(truths.shape) != tuple(guesses.shape):
        raise DimensionError(
            f"truths for {describe(guesses)} have its shape, not that of {describe(truths)}"
        )
    return truths.astype(guesses.dtype, copy=False)

"""The base class of all losses, and checks of their arguments."""

import math
from typing import Any

import numpy as np

from combinet.errors import DimensionError, InputError, conversion_hint, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.types import Floats


class Loss:
    """Base class of losses. `loss(guesses, truths)` returns (gradient, value).

    The gradient is the derivative of the value with respect to the guesses, and has their
    structure and shapes. The value is a number. On a GPU it is an array without axes, so that only
    reading it forces a device sync. Subclasses define `__call__`.

    Args:
        normalize: Whether to divide gradient and value by n, the number of rows. If False, both
            are sums over the rows.

    Example:
        >>> import numpy as np
        >>> from combinet import L2Distance
        >>> L2Distance().get_loss(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])).item()
        2.0
    """

    def __init__(self, *, normalize: bool = True) -> None:
        self.normalize = normalize

    def __call__(self, guesses: Any, truths: Any) -> tuple[Any, Floats]:
        """Returns the gradient and the value."""
        raise NotImplementedError

    def get_grad(self, guesses: Any, truths: Any = None) -> Any:
        """Returns only the gradient.

        Args:
            guesses: Output of the model.
            truths: Expected output, in a form that the loss accepts. None if the loss takes none.
        """
        return self(guesses, truths)[0]

    def get_loss(self, guesses: Any, truths: Any = None) -> Floats:
        """Returns only the value.

        Args:
            guesses: Output of the model.
            truths: Expected output, in a form that the loss accepts. None if the loss takes none.
        """
        return self(guesses, truths)[1]

    def scale(self, n: int) -> float:
        """Returns the factor of sums over n rows: 1 / n if `normalize` is set, else 1.

        Args:
            n: Number of rows. 0 counts as 1.
        """
        return 1 / max(1, n) if self.normalize else 1.0


def check_floats(X: Any, what: str, ndim: int | None = None, remedy: str = "") -> Ops:
    """Returns the Ops of an array. Raises InputError unless it has floats and `ndim` axes."""
    ops = get_array_ops(X)
    if not (ops.is_array(X) and X.dtype.kind == "f" and (X.ndim == ndim if ndim else X.ndim > 0)):
        shape = "(n, k)" if ndim == 2 else "of any shape"
        hint = conversion_hint(X) or remedy
        raise InputError(f"expected {what} to be floats {shape}, got {describe(X)}{hint}")
    return ops


def check_probabilities(
    name: str, P: Any, value: Any, source: str = "as Softmax returns them", most: float = math.inf
) -> None:
    """Raises InputError if guesses are not probabilities but, say, scores before a softmax.

    Skips the check if the loss's value is from 0 to below `most`, as it is for probabilities, to
    save time. Also skips it on a GPU, where reading the value would force a device sync.
    """
    looks_wrong = isinstance(P, np.ndarray) and not 0 <= value < most
    if looks_wrong and ((P < 0).any() or (P > 1.01).any()):  # rounding may exceed 1
        raise InputError(
            f"{name} expected probabilities, {source}, got {P.min():.4g} to {P.max():.4g}"
        )


def as_targets(truths: Any, guesses: Any, ops: Ops) -> Any:
    """Returns the truths in the guesses' dtype and on their device. Raises if shapes differ."""
    truths = ops.asarray(truths)
    if truths.dtype.kind not in "fiub":
        raise InputError(f"expected numeric truths for {describe(guesses)}, got {describe(truths)}")
    if tuple(truths.shape) != tuple(guesses.shape):
        raise DimensionError(
            f"expected truths with the shape of {describe(guesses)}, got {describe(truths)}"
        )
    return truths.astype(guesses.dtype, copy=False)

"""Losses of vectors: how far guesses are from what they should be."""

from __future__ import annotations

from typing import Any

from combinet.losses.base import Loss, as_targets, check_floats
from combinet.types import Floats, Floats2d


class L2Distance(Loss):
    """Half the squared distance of guesses (n, k) from truths of their shape.

    `loss(guesses, truths)` returns (dY, value): value = sum((Y - T)^2) / 2 and dY = Y - T. With
    `normalize` both are divided by n.

    Example:
        >>> import numpy as np
        >>> from combinet import L2Distance
        >>> dY, value = L2Distance()(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
        >>> dY, float(value)
        (array([[0., 2.]]), 2.0)
    """

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        ops = check_floats(guesses, "guesses", 2)
        scale = self.scale(guesses.shape[0])
        gradient = guesses - as_targets(truths, guesses, ops)
        value = (gradient * gradient).sum() * (scale / 2)
        gradient *= scale
        return gradient, value


class CosineDistance(Loss):
    """1 - cosine of the angle between each of the guesses (n, k) and its truth, summed.

    `loss(guesses, truths)` returns (dY, value); with `normalize` both are divided by n. A vector
    of zeros has no direction: its cosine is 0, with no gradient. With `ignore_zeros` a row whose
    truth is such a vector has the value 0 as well, and still counts among the n.

    Example:
        >>> import numpy as np
        >>> from combinet import CosineDistance
        >>> dY, value = CosineDistance()(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]]))
        >>> round(float(value), 4), dY.round(4)
        (0.4, array([[-0.128,  0.096]]))
    """

    def __init__(self, *, normalize: bool = True, ignore_zeros: bool = False) -> None:
        super().__init__(normalize=normalize)
        self.ignore_zeros = ignore_zeros

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        ops = check_floats(guesses, "guesses", 2)
        scale = self.scale(guesses.shape[0])
        Y, Y_size = _directions(ops.xp, guesses)
        T, T_size = _directions(ops.xp, as_targets(truths, guesses, ops))
        cosine = (Y * T).sum(axis=1, keepdims=True)
        gradient = Y * cosine
        gradient -= T * (Y_size > 0)
        gradient *= scale / ops.xp.where(Y_size > 0, Y_size, 1)
        distance = 1 - cosine
        if self.ignore_zeros:
            distance *= T_size > 0
        return gradient, distance.sum() * scale


def _directions(xp: Any, X: Floats2d) -> tuple[Floats2d, Floats2d]:
    """Rows of length 1, those of zeros as they are; and their lengths (n, 1).

    A row is scaled by its largest number first: squares neither overflow nor vanish.
    """
    largest = abs(X).max(axis=1, keepdims=True)
    scaled = X / xp.where(largest > 0, largest, 1)
    size = xp.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return scaled / xp.where(size > 0, size, 1), size * largest

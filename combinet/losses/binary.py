"""The cross-entropy of yes-or-no guesses, each by itself."""

from __future__ import annotations

from typing import Any

from combinet.losses.base import Loss, as_targets, check_floats, check_probabilities
from combinet.types import Floats


class BinaryCrossentropy(Loss):
    """The cross-entropy of guesses that are each a probability, as a sigmoid gives them.

    `loss(guesses, truths)` returns (dY, value), for guesses p and truths t, from 0 to 1, of one
    shape (n, ...): value = -sum(t * log(p) + (1 - t) * log(1 - p)), dY = (p - t) / (p * (1 - p)).
    With `normalize` both are divided by n, the number of rows. p is held away from 0 and from 1
    by what the dtype can tell from them. Where the value is none that good guesses give, guesses
    on the CPU that are no probabilities raise InputError.

    With `logits` the guesses are scores Y, before the sigmoid, and dY = sigmoid(Y) - t: right for
    scores of any size, where a sigmoid's output is no longer told from 1.

    Example:
        >>> import numpy as np
        >>> from combinet import BinaryCrossentropy
        >>> dY, value = BinaryCrossentropy()(np.array([[0.5, 0.75]]), np.array([[0, 1]]))
        >>> dY.round(4), round(float(value), 4)
        (array([[ 2.    , -1.3333]]), 0.9808)
        >>> BinaryCrossentropy(logits=True).get_grad(np.array([[0.0, 500.0]]), np.array([[1, 0]]))
        array([[-0.5,  1. ]])
    """

    def __init__(self, *, normalize: bool = True, logits: bool = False) -> None:
        super().__init__(normalize=normalize)
        self.logits = logits

    def __call__(self, guesses: Floats, truths: Any) -> tuple[Floats, Floats]:
        """The gradient and the value."""
        ops = check_floats(guesses, "guesses of BinaryCrossentropy")
        T = as_targets(truths, guesses, ops)
        scale = self.scale(guesses.shape[0])
        gradient, value = (_scores if self.logits else _probabilities)(ops.xp, guesses, T)
        if not self.logits:
            # Those below 0 count as almost 0 and give no NaN: look where chance would do better.
            source = "as a sigmoid gives them (scores with logits=True)"
            check_probabilities("BinaryCrossentropy", guesses, value, source, most=guesses.size)
        return gradient * scale, value * scale


def _probabilities(xp: Any, P: Floats, T: Floats) -> tuple[Floats, Floats]:
    info = xp.finfo(P.dtype)
    Q = xp.maximum(1 - P, info.eps / 4)
    P = xp.maximum(P, info.tiny)
    return (1 - T) / Q - T / P, -(T * xp.log(P) + (1 - T) * xp.log(Q)).sum()


def _scores(xp: Any, X: Floats, T: Floats) -> tuple[Floats, Floats]:
    info = xp.finfo(X.dtype)
    X = xp.maximum(xp.minimum(X, info.max), info.min)  # infinity less itself is no number
    small = xp.exp(-abs(X))  # never overflows
    sigmoid = xp.where(X >= 0, 1, small) / (1 + small)
    return sigmoid - T, (xp.maximum(X, 0) - X * T + xp.log1p(small)).sum()

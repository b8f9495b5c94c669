"""The cross-entropy of probabilities with true classes, and its focal form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from combinet.errors import InputError
from combinet.losses.base import check_floats, check_probabilities
from combinet.losses.targets import ClassLoss
from combinet.types import Floats, Floats2d


class CategoricalCrossentropy(ClassLoss):
    """The cross-entropy of probabilities, as `Softmax` gives them, with the true classes.

    `loss(guesses, truths)` returns (dY, value): with p the guesses (n, k), which are above 0, and
    t the truths, the value is -sum(t * log(p)), an array without axes, and dY (n, k) is its true
    gradient with respect to p, -t / p. `truths` are class numbers (n,) or rows of probabilities
    (n, k), on any device. With `normalize` both are divided by n: the mean.

    Since dY is the derivative for the probabilities themselves, it is for a layer whose backward
    pass goes through the softmax, as that of `Softmax` does; together they give (p - t) at its
    input. Raises DimensionError or InputError if guesses and truths don't match; on the CPU also
    if the value is below 0 or not finite because guesses are no probabilities.

    `names`: the labels by column; truths may then be a list of them. A truth that is None or
    `missing_value` (a name, or a class number; of a row of probabilities: the place of its
    maximum) has value and gradient 0, and still counts among the n. `neg_prefix`: before a
    name it says "any class but this", with the value -log(sum of the other p), so that at the
    softmax's input this class gets the gradient p. `label_smoothing`: each class number stands
    for 1 - label_smoothing of its class and the rest in equal parts of the others; not for
    probabilities, nor for negated names.

    Example:
        >>> import numpy as np
        >>> from combinet import CategoricalCrossentropy
        >>> dY, value = CategoricalCrossentropy()(np.array([[0.25, 0.75]]), np.array([1]))
        >>> round(float(value), 4), dY.round(4)
        (0.2877, array([[-0.    , -1.3333]]))
        >>> loss = CategoricalCrossentropy(names=["cat", "dog", "owl"], neg_prefix="!")
        >>> loss.get_grad(np.array([[0.5, 0.25, 0.25]]), ["!cat"])
        array([[-0., -2., -2.]])
    """

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        remedy = "; for a list there is SequenceCategoricalCrossentropy"
        check_floats(guesses, "guesses of CategoricalCrossentropy", 2, remedy)
        return crossentropy(self, guesses, [truths], guesses.shape[0])


def crossentropy(
    loss: ClassLoss, guesses: Floats2d, truths: Sequence[Any], n: int
) -> tuple[Floats2d, Floats]:
    """The gradient and the value for truths in parts, one after the other; the mean is over n."""
    ops = check_floats(guesses, f"guesses of {type(loss).__name__}", 2)
    targets, excluded = loss.targets(guesses, loss.encode(truths, ops), ops)
    gradient = targets / guesses
    total = (targets * ops.xp.log(guesses)).sum()
    if excluded is not None:
        row = excluded.sum(axis=1, keepdims=True)
        # Not 1 - p: that is 0 where a guess is surest. Rows that exclude nothing get log(1).
        others = (guesses * (row - excluded)).sum(axis=1, keepdims=True) + (1 - row)
        gradient += (row - excluded) / others
        total = total + ops.xp.log(others).sum()
    gradient *= -loss.scale(n)
    value = total * -loss.scale(n)
    check_probabilities(type(loss).__name__, guesses, value)
    return gradient, value


class FocalLoss(ClassLoss):
    """The cross-entropy with less weight on what is guessed well: -sum(t * (1-p)^gamma * log(p)).

    `loss(guesses, truths)` returns (dY, value) for probabilities (n, k) above 0, as `Softmax`
    gives them; truths, `normalize`, `names` and `missing_value` are those of
    `CategoricalCrossentropy`, which this is with a gamma of 0. Lin et al. 2017, arXiv:1708.02002,
    equation 4.

    Example:
        >>> import numpy as np
        >>> from combinet import FocalLoss
        >>> guesses = np.array([[0.1, 0.9], [0.5, 0.5]])
        >>> dY, value = FocalLoss(gamma=2.0, normalize=False)(guesses, np.array([1, 1]))
        >>> dY.round(4)
        array([[-0.    , -0.0322],
               [-0.    , -1.1931]])
    """

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        normalize: bool = True,
        names: Sequence[str] | None = None,
        missing_value: str | int | None = None,
    ) -> None:
        if not gamma >= 0:
            raise InputError(f"gamma is 0 or above, not {gamma!r}")
        super().__init__(normalize=normalize, names=names, missing_value=missing_value)
        self.gamma = gamma

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        ops = check_floats(guesses, "guesses of FocalLoss", 2)
        xp, gamma = ops.xp, self.gamma
        targets, _ = self.targets(guesses, self.encode([truths], ops), ops)
        scale = self.scale(guesses.shape[0])
        # Not 0, for powers below 1; where p is 1 the logarithm is 0 and decides.
        rest = xp.maximum(1 - guesses, xp.finfo(guesses.dtype).eps / 4)
        log, power = xp.log(guesses), rest**gamma
        gradient = targets * (power / guesses - gamma * power / rest * log)
        gradient *= -scale
        value = (targets * power * log).sum() * -scale
        check_probabilities("FocalLoss", guesses, value)
        return gradient, value

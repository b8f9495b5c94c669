"""Cross-entropies: of classes, of classes in sequences, focal, and of yes-or-no guesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.convert import check_list
from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss, as_targets, check_floats, check_probabilities
from combinet.losses.targets import ClassLoss
from combinet.ops.backends import get_array_ops
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


class SequenceCategoricalCrossentropy(ClassLoss):
    """`CategoricalCrossentropy` of a list of arrays, one for each sequence.

    `loss(guesses, truths)` returns (list of dY, value). With `normalize` both are divided by the
    number of sequences, else they are sums over all rows. The other keywords are those of
    `CategoricalCrossentropy`.

    Example:
        >>> import numpy as np
        >>> from combinet import SequenceCategoricalCrossentropy
        >>> guesses = [np.array([[0.5, 0.5]]), np.array([[0.25, 0.75], [0.5, 0.5]])]
        >>> dY, value = SequenceCategoricalCrossentropy()(guesses, [[0], [1, 0]])
        >>> round(float(value), 4), dY[0]
        (0.837, array([[-1., -0.]]))
    """

    def __call__(
        self, guesses: Sequence[Floats2d], truths: Sequence[Any]
    ) -> tuple[list[Floats2d], Floats]:
        """The gradient and the value."""
        if not isinstance(guesses, list | tuple):
            raise InputError(
                "SequenceCategoricalCrossentropy takes a list of arrays, not "
                f"{describe(guesses)}; ragged2list() and padded2list() give one"
            )
        check_list(guesses)
        if _length(truths) != len(guesses):
            raise DimensionError(
                f"{len(guesses)} sequences of guesses have as many of truths, "
                f"not {describe(truths)}"
            )
        for i, (guess, truth) in enumerate(zip(guesses, truths, strict=True)):
            if _length(truth) != len(guess):
                raise DimensionError(
                    f"sequence {i} has {len(guess)} rows of guesses, for truths {describe(truth)}"
                )
        if not guesses:
            return [], np.zeros(())
        ops = get_array_ops(guesses[0])
        given = [truth for truth in truths if len(truth)]
        gradient, value = crossentropy(self, ops.concatenate([*guesses]), given, len(guesses))
        return ops.split(gradient, [*map(len, guesses)]), value


def _length(X: Any) -> int | None:
    return len(X) if hasattr(X, "__len__") else None


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

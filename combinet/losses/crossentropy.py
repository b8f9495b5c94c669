"""Cross-entropies: categorical, for arrays and lists of arrays, focal, and binary."""

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
    """Cross-entropy of probabilities p, such as the output of `Softmax`, with true classes t.

    `loss(guesses, truths)` returns (dY, value). Guesses p are probabilities (n, k) above 0. Truths
    t are class numbers (n,) or rows of probabilities (n, k), on any device. The value is
    -sum(t * log(p)), a number. dY (n, k) is its gradient with respect to p, -t / p.

    dY does not include the derivative of the softmax. Pass it to a layer whose backward pass does,
    such as `Softmax`: together they give p - t at the softmax's input.

    Args:
        normalize: Whether to divide gradient and value by n, the number of rows. If False, both
            are sums over the rows.
        names: Class names in the order of the columns. Truths may then be a list of names. None
            accepts only class numbers and probabilities.
        missing_value: A class number or name that marks a missing truth, as None always does. If it
            is a class number, a row of probabilities is missing if its maximum is in this column.
            Missing truths have value and gradient 0, and still count in the mean.
        neg_prefix: Prefix of a name that negates it. With "!" the truth "!cat" means "any class but
            cat". Its value is -log(sum of the other p), so at the softmax's input the gradient of
            this class is p. Needs `names`.
        label_smoothing: Probability that is moved from the true class to all other classes in equal
            parts, from 0 to below 1. Does not affect negated names. Not for truths that are
            probabilities.

    Raises:
        DimensionError: If truths do not match the guesses, or a class number on the host is out of
            range.
        InputError: If an argument has the wrong type. On the CPU also if guesses are not
            probabilities and therefore the value is negative or not finite.

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
        """Returns the gradient and the value."""
        remedy = "; for a list use SequenceCategoricalCrossentropy"
        check_floats(guesses, "guesses of CategoricalCrossentropy", 2, remedy)
        return crossentropy(self, guesses, [truths], guesses.shape[0])


def crossentropy(
    loss: ClassLoss, guesses: Floats2d, truths: Sequence[Any], n: int
) -> tuple[Floats2d, Floats]:
    """Returns gradient and value. `truths` are consecutive parts. The mean is over `n`."""
    ops = check_floats(guesses, f"guesses of {type(loss).__name__}", 2)
    targets, excluded = loss.targets(guesses, loss.encode(truths, ops), ops)
    gradient = targets / guesses
    with np.errstate(invalid="ignore"):  # check_probabilities refuses guesses below 0
        total = (targets * ops.xp.log(guesses)).sum()
        if excluded is not None:
            row = excluded.sum(axis=1, keepdims=True)
            # A sum instead of 1 - p, which may round to 0. Rows without exclusion get log(1) = 0.
            others = (guesses * (row - excluded)).sum(axis=1, keepdims=True) + (1 - row)
            gradient += (row - excluded) / others
            total = total + ops.xp.log(others).sum()
    gradient *= -loss.scale(n)
    value = total * -loss.scale(n)
    check_probabilities(type(loss).__name__, guesses, value)
    return gradient, value


class SequenceCategoricalCrossentropy(ClassLoss):
    """`CategoricalCrossentropy` for a list of arrays, one for each sequence.

    `loss(guesses, truths)` returns (list of dY, value). Guesses are a list of probabilities
    (n_i, k). Truths are a list of class numbers (n_i,) or of rows of probabilities (n_i, k).

    Args:
        normalize: Whether to divide gradient and value by the number of sequences. If False, both
            are sums over all rows.
        names: Class names in the order of the columns. Each sequence's truths may then be a list
            of names. None accepts only class numbers and probabilities.
        missing_value: A class number or name that marks a missing truth, as None always does. If it
            is a class number, a row of probabilities is missing if its maximum is in this column.
            Missing truths have value and gradient 0, and still count in the mean.
        neg_prefix: Prefix of a name that negates it. With "!" the truth "!cat" means "any class but
            cat". Its value is -log(sum of the other p), so at the softmax's input the gradient of
            this class is p. Needs `names`.
        label_smoothing: Probability that is moved from the true class to all other classes in equal
            parts, from 0 to below 1. Does not affect negated names. Not for truths that are
            probabilities.

    Raises:
        DimensionError: If truths do not match the guesses, or a class number on the host is out of
            range.
        InputError: If an argument has the wrong type. On the CPU also if guesses are not
            probabilities and therefore the value is negative or not finite.

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
        """Returns the gradients and the value."""
        if not isinstance(guesses, list | tuple):
            raise InputError(
                "SequenceCategoricalCrossentropy expected a list of arrays, got "
                f"{describe(guesses)}; convert it with ragged2list() or padded2list()"
            )
        check_list(guesses)
        if _length(truths) != len(guesses):
            raise DimensionError(
                f"expected truths for {len(guesses)} sequences of guesses, got {describe(truths)}"
            )
        for i, (guess, truth) in enumerate(zip(guesses, truths, strict=True)):
            if _length(truth) != len(guess):
                raise DimensionError(
                    f"expected {len(guess)} truths for sequence {i}, got {describe(truth)}"
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
    """Cross-entropy with less weight on confident guesses: -sum(t * (1 - p)^gamma * log(p)).

    `loss(guesses, truths)` returns (dY, value). Guesses p are probabilities (n, k) above 0, such as
    the output of `Softmax`. Truths t are class numbers (n,) or rows of probabilities (n, k). With
    gamma 0 it is `CategoricalCrossentropy`.

    Args:
        gamma: Exponent of 1 - p, at least 0. Larger values reduce the weight of good guesses more.
        normalize: Whether to divide gradient and value by n, the number of rows. If False, both
            are sums over the rows.
        names: Class names in the order of the columns. Truths may then be a list of names. None
            accepts only class numbers and probabilities.
        missing_value: A class number or name that marks a missing truth, as None always does. If it
            is a class number, a row of probabilities is missing if its maximum is in this column.
            Missing truths have value and gradient 0, and still count in the mean.

    Raises:
        DimensionError: If truths do not match the guesses, or a class number on the host is out of
            range.
        InputError: If an argument has the wrong type. On the CPU also if guesses are not
            probabilities and therefore the value is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from combinet import FocalLoss
        >>> guesses = np.array([[0.1, 0.9], [0.5, 0.5]])
        >>> dY, value = FocalLoss(gamma=2.0, normalize=False)(guesses, np.array([1, 1]))
        >>> dY.round(4)
        array([[-0.    , -0.0322],
               [-0.    , -1.1931]])

    Source: Lin et al. 2017, arXiv:1708.02002, equation 4.
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
            raise InputError(f"expected gamma >= 0, got {gamma!r}")
        super().__init__(normalize=normalize, names=names, missing_value=missing_value)
        self.gamma = gamma

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """Returns the gradient and the value."""
        ops = check_floats(guesses, "guesses of FocalLoss", 2)
        xp, gamma = ops.xp, self.gamma
        targets, _ = self.targets(guesses, self.encode([truths], ops), ops)
        scale = self.scale(guesses.shape[0])
        # Above 0, because the gradient divides by it. Where p is 1, log(p) = 0 makes the product 0.
        rest = xp.maximum(1 - guesses, xp.finfo(guesses.dtype).eps / 4)
        with np.errstate(invalid="ignore"):  # check_probabilities refuses guesses below 0
            log, power = xp.log(guesses), rest**gamma
        gradient = targets * (power / guesses - gamma * power / rest * log)
        gradient *= -scale
        value = (targets * power * log).sum() * -scale
        check_probabilities("FocalLoss", guesses, value)
        return gradient, value


class BinaryCrossentropy(Loss):
    """Cross-entropy of independent probabilities, such as the output of a sigmoid.

    `loss(guesses, truths)` returns (dY, value). Guesses p and truths t have the same shape (n, ...)
    and are from 0 to 1. The value is -sum(t * log(p) + (1 - t) * log(1 - p)), and
    dY = (p - t) / (p * (1 - p)). p is clipped to values that its dtype distinguishes from 0 and 1.

    Args:
        normalize: Whether to divide gradient and value by n, the number of rows. If False, both
            are sums over the rows.
        logits: Whether guesses are scores Y before the sigmoid. Then dY = sigmoid(Y) - t, which is
            accurate for scores of any size, even where the output of a sigmoid rounds to 1.

    Raises:
        DimensionError: If truths do not have the shape of the guesses.
        InputError: If an argument has the wrong type. On the CPU also if guesses are not
            probabilities and therefore the value is worse than for random guesses.

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
        """Returns the gradient and the value."""
        ops = check_floats(guesses, "guesses of BinaryCrossentropy")
        T = as_targets(truths, guesses, ops)
        scale = self.scale(guesses.shape[0])
        gradient, value = (_scores if self.logits else _probabilities)(ops.xp, guesses, T)
        if not self.logits:
            # Guesses below 0 are clipped and give no NaN. So check if chance would do better.
            source = "as a sigmoid returns them (for scores pass logits=True)"
            check_probabilities("BinaryCrossentropy", guesses, value, source, most=guesses.size)
        return gradient * scale, value * scale


def _probabilities(xp: Any, P: Floats, T: Floats) -> tuple[Floats, Floats]:
    info = xp.finfo(P.dtype)
    Q = xp.maximum(1 - P, info.eps / 4)
    P = xp.maximum(P, info.tiny)
    return (1 - T) / Q - T / P, -(T * xp.log(P) + (1 - T) * xp.log(Q)).sum()


def _scores(xp: Any, X: Floats, T: Floats) -> tuple[Floats, Floats]:
    info = xp.finfo(X.dtype)
    X = xp.maximum(xp.minimum(X, info.max), info.min)  # inf - inf would be NaN
    small = xp.exp(-abs(X))  # never overflows
    sigmoid = xp.where(X >= 0, 1, small) / (1 + small)
    return sigmoid - T, (xp.maximum(X, 0) - X * T + xp.log1p(small)).sum()

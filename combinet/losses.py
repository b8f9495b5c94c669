"""Losses: objects that are called with guesses and truths and return (gradient, value)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.data import check_list
from combinet.errors import DimensionError, InputError, describe
from combinet.ops import get_array_ops
from combinet.types import Floats, Floats2d


class CategoricalCrossentropy:
    """The cross-entropy of probabilities, as `Softmax` gives them, with the true classes.

    `loss(guesses, truths)` returns (dY, value): with p the guesses (n, k), which are above 0, and
    t the truths, the value is -sum(t * log(p)), an array without axes, and dY (n, k) is its true
    gradient with respect to p, -t / p. `truths` are class numbers (n,) or rows of probabilities
    (n, k), on any device. With `normalize` both are divided by n: the mean.

    Since dY is the derivative for the probabilities themselves, it is for a layer whose backward
    pass goes through the softmax, as that of `Softmax` does; together they give (p - t) at its
    input. Raises DimensionError or InputError if guesses and truths don't match.

    Example:
        >>> import numpy as np
        >>> from combinet import CategoricalCrossentropy
        >>> dY, value = CategoricalCrossentropy()(np.array([[0.25, 0.75]]), np.array([1]))
        >>> round(float(value), 4), dY.round(4)
        (0.2877, array([[-0.    , -1.3333]]))
    """

    def __init__(self, *, normalize: bool = True) -> None:
        self.normalize = normalize

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        xp = get_array_ops(guesses).xp
        targets = self._targets(guesses, truths)
        scale = 1 / max(1, guesses.shape[0]) if self.normalize else 1.0
        gradient = targets / guesses
        gradient *= -scale
        return gradient, (targets * xp.log(guesses)).sum() * -scale

    def _targets(self, guesses: Floats2d, truths: Any) -> Floats2d:
        ops = get_array_ops(guesses)
        if not ops.is_array(guesses) or guesses.ndim != 2 or guesses.dtype.kind != "f":
            raise InputError(f"guesses are floats (n, k), not {describe(guesses)}")
        truths = ops.asarray(truths)
        if truths.ndim == 2 and tuple(truths.shape) == tuple(guesses.shape):
            return truths.astype(guesses.dtype)  # type: ignore[no-any-return]
        if truths.ndim != 1 or truths.shape[0] != guesses.shape[0]:
            raise DimensionError(
                f"truths for {describe(guesses)} are {guesses.shape[0]} class numbers or an array "
                f"of its shape, not {describe(truths)}"
            )
        if truths.shape[0] and truths.dtype.kind not in "iu":
            raise InputError(f"class numbers are integers, not {describe(truths)}")
        if isinstance(truths, np.ndarray) and truths.size:
            low, high = truths.min(), truths.max()
            if low < 0 or high >= guesses.shape[1]:
                raise DimensionError(
                    f"class numbers are from 0 to {guesses.shape[1] - 1}, not {low} to {high}"
                )
        classes = ops.xp.arange(guesses.shape[1])
        return (truths[:, None] == classes).astype(guesses.dtype)  # type: ignore[no-any-return]


def _length(X: Any) -> int | None:
    return len(X) if hasattr(X, "__len__") else None


class SequenceCategoricalCrossentropy:
    """`CategoricalCrossentropy` of a list of arrays, one for each sequence.

    `loss(guesses, truths)` returns (list of dY, value). With `normalize` both are divided by the
    number of sequences, else they are sums over all rows.

    Example:
        >>> import numpy as np
        >>> from combinet import SequenceCategoricalCrossentropy
        >>> guesses = [np.array([[0.5, 0.5]]), np.array([[0.25, 0.75], [0.5, 0.5]])]
        >>> dY, value = SequenceCategoricalCrossentropy()(guesses, [[0], [1, 0]])
        >>> round(float(value), 4), dY[0]
        (0.837, array([[-1., -0.]]))
    """

    def __init__(self, *, normalize: bool = True) -> None:
        self.normalize = normalize
        self._loss = CategoricalCrossentropy(normalize=False)

    def __call__(
        self, guesses: Sequence[Floats2d], truths: Sequence[Any]
    ) -> tuple[list[Floats2d], Floats]:
        """The gradient and the value."""
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
        filled = [ops.asarray(truth) for truth in truths if len(truth)]
        if any(truth.ndim != filled[0].ndim for truth in filled):
            raise InputError("truths are class numbers in all sequences, or in none")
        joined = ops.concatenate(filled) if filled else ops.zeros((0,), "int64")
        gradient, value = self._loss(ops.concatenate(list(guesses)), joined)
        scale = 1 / len(guesses) if self.normalize else 1.0
        gradient *= scale
        return ops.split(gradient, [len(guess) for guess in guesses]), value * scale

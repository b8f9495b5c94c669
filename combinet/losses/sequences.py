"""The cross-entropy of a list of arrays of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.convert import check_list
from combinet.errors import DimensionError, InputError, describe
from combinet.losses.crossentropy import crossentropy
from combinet.losses.targets import ClassLoss
from combinet.ops.backends import get_array_ops
from combinet.types import Floats, Floats2d


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
        flat: Any = ops.concatenate([*guesses])
        parts = [truth for truth in truths if len(truth)]
        gradient, value = crossentropy(self, flat, parts, len(guesses))
        return ops.split(gradient, [*map(len, guesses)]), value


def _length(X: Any) -> int | None:
    return len(X) if hasattr(X, "__len__") else None

"""The cross-entropy of a list of arrays of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.convert import check_list
from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss, scale_of
from combinet.losses.crossentropy import CategoricalCrossentropy
from combinet.ops.backends import get_array_ops
from combinet.types import Floats, Floats2d


class SequenceCategoricalCrossentropy(Loss):
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

    def __init__(
        self,
        *,
        normalize: bool = True,
        names: Sequence[str] | None = None,
        missing_value: str | int | None = None,
        neg_prefix: str | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.normalize = normalize
        self._loss = CategoricalCrossentropy(
            normalize=False,
            names=names,
            missing_value=missing_value,
            neg_prefix=neg_prefix,
            label_smoothing=label_smoothing,
        )

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
        gradient, value = self._loss.compare(
            "SequenceCategoricalCrossentropy",
            ops.concatenate(list(guesses)),
            [truth for truth in truths if len(truth)],
        )
        scale = scale_of(self.normalize, len(guesses))
        gradient *= scale
        return ops.split(gradient, [len(guess) for guess in guesses]), value * scale


def _length(X: Any) -> int | None:
    return len(X) if hasattr(X, "__len__") else None

"""The log-likelihood of whole sequences of labels, under a conditional random field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.packed import CRFOutput, pack_scores
from combinet.errors import DimensionError, InputError, describe
from combinet.losses.targets import ClassLoss
from combinet.types import Floats


class CRFLoss(ClassLoss):
    """-log of the probability of each sequence's true labels, under a `CRF`.

    `loss(guesses, truths)` returns (gradient, value): guesses are what `CRF` gives, a tuple of the
    labels' scores (list of (n_i, k) or Ragged), T (k, k), start (k,) and end (k,), and so is the
    gradient. `truths` are for each sequence its label numbers (n_i,), from 0 to k - 1, none of them
    missing, on the host or the device; with `names`, the labels by column, a list of names. With
    `normalize` both are divided by the number of sequences, else they are sums.

    Lafferty, McCallum and Pereira 2001, "Conditional random fields". Raises DimensionError or
    InputError if guesses and truths don't match.

    Example:
        >>> import numpy as np
        >>> from combinet import CRF, CRFLoss
        >>> Y, backprop = CRF(2).initialize(dtype="float64").begin_update([np.zeros((3, 2))])
        >>> gradient, value = CRFLoss()(Y, [[0, 1, 1]])
        >>> bool(np.isclose(value, np.log(2**3)))  # one of 8 ways that are alike
        True
        >>> backprop(gradient)
        [array([[-0.5,  0.5],
               [ 0.5, -0.5],
               [ 0.5, -0.5]])]
    """

    def __init__(self, *, normalize: bool = True, names: Sequence[str] | None = None) -> None:
        super().__init__(normalize=normalize, names=names)

    def __call__(self, guesses: CRFOutput, truths: Sequence[Any]) -> tuple[CRFOutput, Floats]:
        """The gradient and the value."""
        X, order = pack_scores("CRFLoss", guesses)
        ops, lengths = order.ops, order.lengths
        given: Any = describe(truths)
        if hasattr(truths, "__len__"):
            given = [len(truth) if hasattr(truth, "__len__") else None for truth in truths]
        if given != lengths.tolist():
            raise DimensionError(
                f"labels are for sequences of the lengths {lengths.tolist()}, not {given}"
            )
        codes = self.encode([truth for truth in truths if len(truth)], ops)
        if codes.ndim != 1:
            raise InputError(f"CRFLoss takes the labels of each sequence, not {describe(codes)}")
        if isinstance(codes, np.ndarray) and np.isnan(codes).any():
            raise InputError("CRFLoss takes a label for each row, not None")
        labels, _ = self.targets(X, codes, ops)
        value, (dX, dT, d_start, d_end) = ops.crf_loss(
            X, order.pack(labels), *guesses[1:], order.sizes
        )
        scale = self.scale(len(lengths))
        gradient = order.rebuild(dX * scale), dT * scale, d_start * scale, d_end * scale
        return gradient, value * scale

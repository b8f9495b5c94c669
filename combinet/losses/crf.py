"""The negative log-likelihood of label sequences under a conditional random field."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from combinet.batches.packed import CRFOutput, pack_scores
from combinet.errors import DimensionError, InputError, describe
from combinet.losses.targets import ClassLoss
from combinet.types import Floats


class CRFLoss(ClassLoss):
    """Negative log-likelihood of the true labels of each sequence under a `CRF`.

    `loss(guesses, truths)` returns (gradient, value). Guesses are the output of `CRF`: a tuple of
    the labels' scores (a list of arrays (n_i, k) or a Ragged), transitions T (k, k), start (k,) and
    end (k,). The gradient is such a tuple too. Truths have one item per sequence: its label numbers
    (n_i,) from 0 to k - 1, on the host or the device. Every row needs a label.

    Args:
        normalize: Whether to divide gradient and value by the number of sequences. If False, both
            are sums over the sequences.
        names: Class names in the order of the columns. Each sequence's truths may then be a list of
            names. None accepts only class numbers.

    Raises:
        DimensionError: If truths do not match the lengths of the sequences, or a label on the host
            is out of range.
        InputError: If guesses are not the output of a CRF, or a label is missing.

    Example:
        >>> import numpy as np
        >>> from combinet import CRF, CRFLoss
        >>> Y, backprop = CRF(2).initialize(dtype="float64").begin_update([np.zeros((3, 2))])
        >>> gradient, value = CRFLoss()(Y, [[0, 1, 1]])
        >>> bool(np.isclose(value, np.log(2**3)))  # one of 8 equally likely sequences
        True
        >>> backprop(gradient)
        [array([[-0.5,  0.5],
               [ 0.5, -0.5],
               [ 0.5, -0.5]])]

    Source: Lafferty, McCallum and Pereira 2001, "Conditional random fields".
    """

    def __init__(self, *, normalize: bool = True, names: Sequence[str] | None = None) -> None:
        super().__init__(normalize=normalize, names=names)

    def __call__(self, guesses: CRFOutput, truths: Sequence[Any]) -> tuple[CRFOutput, Floats]:
        """Returns the gradient and the value."""
        X, order = pack_scores("CRFLoss", guesses)
        ops, lengths = order.ops, order.lengths
        given: Any = describe(truths)
        if hasattr(truths, "__len__"):
            given = [len(truth) if hasattr(truth, "__len__") else None for truth in truths]
        if given != lengths.tolist():
            raise DimensionError(
                f"CRFLoss expected labels of lengths {lengths.tolist()!r:.99}, got {given!r:.99}"
            )
        codes = self.encode([truth for truth in truths if len(truth)], ops)
        if codes.ndim != 1:
            raise InputError(f"CRFLoss expected labels (n,) per sequence, got {describe(codes)}")
        if isinstance(codes, np.ndarray) and np.isnan(codes).any():
            raise InputError("CRFLoss expected a label for each row, got None")
        labels, _ = self.targets(X, codes, ops)
        value, (dX, dT, d_start, d_end) = ops.crf_loss(
            X, order.pack(labels), *guesses[1:], order.sizes
        )
        scale = self.scale(len(lengths))
        gradient = order.rebuild(dX * scale), dT * scale, d_start * scale, d_end * scale
        return gradient, value * scale

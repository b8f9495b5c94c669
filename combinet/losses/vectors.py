"""Losses over vectors: distances from truths, and metric-learning losses."""

from typing import Any

from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss, as_targets, check_floats
from combinet.ops.base import Ops
from combinet.types import Floats, Floats2d


class L2Distance(Loss):
    """Half the squared Euclidean distance of guesses (n, k) from truths (n, k).

    `loss(guesses, truths)` returns (dY, value). For guesses Y and truths T the value is
    sum((Y - T)^2) / 2 and dY = Y - T.

    Args:
        normalize: Whether to divide gradient and value by n, the number of rows. If False, both
            are sums over the rows.

    Raises:
        DimensionError: If truths do not have the shape of the guesses.
        InputError: If guesses are not an array of floats (n, k), or truths are not numbers.

    Example:
        >>> import numpy as np
        >>> from combinet import L2Distance
        >>> dY, value = L2Distance()(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
        >>> dY, float(value)
        (array([[0., 2.]]), 2.0)
    """

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """Returns the gradient and the value."""
        ops = check_floats(guesses, "guesses of L2Distance", 2)
        scale = self.scale(guesses.shape[0])
        gradient = guesses - as_targets(truths, guesses, ops)
        value = (gradient * gradient).sum() * (scale / 2)
        gradient *= scale
        return gradient, value


class CosineDistance(Loss):
    """Sum of 1 - cosine of the angle between each row of the guesses (n, k) and its truth.

    `loss(guesses, truths)` returns (dY, value). A row of zeros has no direction: its cosine and its
    gradient are 0.

    Args:
        normalize: Whether to divide gradient and value by n, the number of rows. If False, both
            are sums over the rows.
        ignore_zeros: Whether rows whose truth is all zeros have the value 0 instead of 1. They
            still count in n.

    Raises:
        DimensionError: If truths do not have the shape of the guesses.
        InputError: If guesses are not an array of floats (n, k), or truths are not numbers.

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
        """Returns the gradient and the value."""
        ops = check_floats(guesses, "guesses of CosineDistance", 2)
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
    """Returns rows scaled to length 1, and their lengths (n, 1). Rows of zeros stay zeros.

    Each row is first divided by its largest number, so that squares neither overflow nor underflow.
    """
    largest = abs(X).max(axis=1, keepdims=True)
    scaled = X / xp.where(largest > 0, largest, 1)
    size = xp.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return scaled / xp.where(size > 0, size, 1), size * largest


class ContrastiveLoss(Loss):
    """Pulls similar vectors together and pushes others apart, up to a distance of `margin`.

    `loss((A, B), truths)` returns ((dA, dB), value). A and B are vectors (n, k). Truths (n,) are 1
    where the pair of rows is similar and 0 where it is not. For the Euclidean distance d of a pair,
    the value is the sum of d^2 / 2 where the truth is 1, and of max(0, margin - d)^2 / 2 where it
    is 0. Where d is 0 a pair has no direction, and its gradient is 0.

    Args:
        margin: Distance at which a dissimilar pair reaches the value 0. Must be above 0.
        normalize: Whether to divide gradients and value by n, the number of pairs. If False, they
            are sums over the pairs.

    Raises:
        DimensionError: If A and B differ in shape or dtype, or truths do not match them.
        InputError: If A and B are not arrays of floats (n, k), or margin is not above 0.

    Example:
        >>> import numpy as np
        >>> from combinet import ContrastiveLoss
        >>> A, B = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[0.3, 0.4], [0.3, 0.4]])
        >>> (dA, dB), value = ContrastiveLoss(normalize=False)((A, B), np.array([1, 0]))
        >>> dA.round(4), round(float(value), 4)
        (array([[-0.3, -0.4],
               [ 0.3,  0.4]]), 0.25)

    Source: Hadsell, Chopra and LeCun 2006, equation 4 (its Y is 1 - truth).
    """

    def __init__(self, *, margin: float = 1.0, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        self.margin = _positive(margin)

    def __call__(
        self, guesses: tuple[Floats2d, Floats2d], truths: Any
    ) -> tuple[tuple[Floats2d, Floats2d], Floats]:
        """Returns the gradients and the value."""
        ops = _check_vectors(guesses, 2)
        A, B = guesses
        same = ops.asarray(truths)
        if tuple(same.shape) != (A.shape[0],) or same.dtype.kind not in "fiub":
            raise DimensionError(
                f"expected {A.shape[0]} truths, 1 or 0, for {describe(A)}, got {describe(truths)}"
            )
        xp, same = ops.xp, same.astype(A.dtype)[:, None]
        scale = self.scale(A.shape[0])
        difference = A - B
        distance = xp.sqrt((difference * difference).sum(axis=1, keepdims=True))
        lacking = xp.maximum(self.margin - distance, 0)
        value = (same * distance**2 + (1 - same) * lacking**2).sum() * (scale / 2)
        push = lacking / xp.where(distance > 0, distance, 1)
        dA = difference * ((same - (1 - same) * push) * scale)
        return (dA, -dA), value


class TripletLoss(Loss):
    """Moves an anchor closer to a similar vector than to another one, by `margin`.

    `loss((anchor, positive, negative))` returns ((dA, dP, dN), value), for vectors (n, k). The
    value is the sum of max(0, |anchor - positive|^2 - |anchor - negative|^2 + margin), with squared
    Euclidean distances. The loss takes no truths.

    Args:
        margin: Difference of squared distances at which a triplet reaches the value 0. Must be
            above 0.
        normalize: Whether to divide gradients and value by n, the number of triplets. If False,
            they are sums over the triplets.

    Raises:
        DimensionError: If the three arrays differ in shape or dtype.
        InputError: If they are not arrays of floats (n, k), truths are passed, or margin is not
            above 0.

    Example:
        >>> import numpy as np
        >>> from combinet import TripletLoss
        >>> anchor, positive, negative = np.array([[0.0]]), np.array([[0.5]]), np.array([[-0.6]])
        >>> (dA, dP, dN), value = TripletLoss()((anchor, positive, negative))
        >>> dA.item(), dP.item(), dN.item(), round(float(value), 4)
        (-2.2, 1.0, 1.2, 0.09)

    Source: Schroff, Kalenichenko and Philbin 2015, arXiv:1503.03832, section 3.1.
    """

    def __init__(self, *, margin: float = 0.2, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        self.margin = _positive(margin)

    def __call__(
        self, guesses: tuple[Floats2d, Floats2d, Floats2d], truths: None = None
    ) -> tuple[tuple[Floats2d, Floats2d, Floats2d], Floats]:
        """Returns the gradients and the value."""
        if truths is not None:
            raise InputError(f"TripletLoss expected truths=None, got {describe(truths)}")
        ops = _check_vectors(guesses, 3)
        anchor, positive, negative = guesses
        scale = self.scale(anchor.shape[0])
        near, far = anchor - positive, anchor - negative
        lacking = (near * near - far * far).sum(axis=1, keepdims=True) + self.margin
        weight = (lacking > 0) * (2 * scale)
        value = ops.xp.maximum(lacking, 0).sum() * scale
        weight = weight.astype(anchor.dtype)
        return ((near - far) * weight, -near * weight, far * weight), value


def _positive(margin: float) -> float:
    if not margin > 0:
        raise InputError(f"expected a margin above 0, got {margin!r}")
    return margin


def _check_vectors(guesses: Any, count: int) -> Ops:
    if not isinstance(guesses, list | tuple) or len(guesses) != count:
        raise InputError(f"expected a tuple of {count} arrays, got {describe(guesses)}")
    found = [check_floats(vectors, "vectors", 2) for vectors in guesses]
    if len({(vectors.shape, str(vectors.dtype)) for vectors in guesses}) > 1:
        shapes = " and ".join(map(describe, guesses))
        raise DimensionError(f"expected vectors of the same shape and dtype, got {shapes}")
    return found[0]

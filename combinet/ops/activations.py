"""Activations, element by element: each function and the gradient of its input.

They are correct over the whole range of the dtype, including infinities, and do not overflow. NaN
stays NaN. swish and dish differ from the rectifier by a function of |X|: f(X) = max(X, 0) - h(|X|).
They are computed in this form, because it loses no digits by cancellation. For swish, X * s(X) = X
- X * s(-X) gives h(|X|) = |X| * s(-|X|).
"""

from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.types import Floats

_FAR = 1000.0  # exp(-1000) and 1000 * exp(-1000) are 0 in every dtype


class ActivationOps(ArrayOps):
    """Part of `Ops`: all activations except relu, gelu and softmax.

    X is an array of any shape, the input of the activation. dY is the gradient of the output. Each
    result has the shape and dtype of X.
    """

    def sigmoid(self, X: Floats) -> Floats:
        """Returns 1 / (1 + exp(-X)), element by element."""
        e = self.xp.exp(-self.xp.abs(X))
        Y = 1 / (1 + e)
        return self.xp.where(X < 0, e * Y, Y)

    def backprop_sigmoid(self, dY: Floats, X: Floats) -> Floats:
        """Returns the gradient of X, dY * s(X) * s(-X), where s is `sigmoid`.

        It is computed from X because Y rounds to 1 long before the derivative becomes 0.
        """
        e = self.xp.exp(-self.xp.abs(X))
        root = 1 / (1 + e)
        return dY * (e * root * root)

    def swish(self, X: Floats) -> Floats:
        """Returns X * s(X), element by element, where s is `sigmoid`.

        Source: Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017.
        """
        size = self.xp.minimum(self.xp.abs(X), _FAR)
        e = self.xp.exp(-size)
        return self.xp.maximum(X, 0) - size * (e / (1 + e))

    def backprop_swish(self, dY: Floats, X: Floats) -> Floats:
        """Returns the gradient of X, dY * s(X) * (1 + X * s(-X)), where s is `sigmoid`."""
        size = self.xp.minimum(self.xp.abs(X), _FAR)
        e = self.xp.exp(-size)
        s = 1 / (1 + e)
        below = e * s * (1 - size * s)  # the derivative at -|X|
        return dY * self.xp.where(X < 0, below, 1 - below)

    def _mish_parts(self, X: Floats) -> tuple[Any, Any, Any]:
        """Returns n, rest and exp(-|X|), where tanh(log(1 + exp(X))) = n / (n + rest)."""
        e = self.xp.exp(-self.xp.abs(X))
        n = self.xp.where(X < 0, e * (e + 2), 1 + 2 * e)
        return n, self.xp.where(X < 0, self.xp.full_like(e, 2), 2 * e * e), e

    def mish(self, X: Floats) -> Floats:
        """Returns X * tanh(log(1 + exp(X))), element by element.

        Source: Misra 2019, arXiv:1908.08681, equation 1.
        """
        X = self.xp.maximum(X, -_FAR)
        n, rest, _ = self._mish_parts(X)
        return X * (n / (n + rest))

    def backprop_mish(self, dY: Floats, X: Floats) -> Floats:
        """Returns the gradient of X, dY * (t + X * (1 - t * t) * s(X)).

        Here t = tanh(log(1 + exp(X))) and s is `sigmoid`.
        """
        X = self.xp.clip(X, -_FAR, _FAR)
        n, rest, e = self._mish_parts(X)
        t, missing = n / (n + rest), rest / (n + rest)  # 1 - t would lose digits
        s = self.xp.where(X < 0, e, self.xp.ones_like(e)) / (1 + e)
        return dY * (t + X * (missing * (1 + t) * s))

    def dish(self, X: Floats) -> Floats:
        """Returns X / 2 * (1 + X / sqrt(1 + X * X)), element by element.

        The function resembles swish but needs no exponential.
        """
        size, root = self._dish_parts(X)
        return self.xp.maximum(X, 0) - size / root * (0.5 / (root + size))

    def backprop_dish(self, dY: Floats, X: Floats) -> Floats:
        """Returns the gradient of X, dY * (1 + z + z / (1 + X * X)) / 2.

        Here z = X / sqrt(1 + X * X).
        """
        size, root = self._dish_parts(X)
        w = 1 / root
        below = 0.5 * w * (1 / (root + size) - size * w * w)  # the derivative at -|X|
        return dY * self.xp.where(X < 0, below, 1 - below)

    def _dish_parts(self, X: Floats) -> tuple[Any, Any]:
        """Returns |X|, bounded so that its double is finite, and sqrt(1 + X * X)."""
        size = self.xp.minimum(self.xp.abs(X), np.finfo(X.dtype).max / 4)
        return size, self.xp.hypot(size, self.xp.ones_like(size))

    def elu(self, X: Floats, alpha: float, scale: float = 1.0) -> Floats:
        """Returns scale * X where X > 0, and scale * alpha * (exp(X) - 1) elsewhere.

        Source: Clevert et al. 2016, arXiv:1511.07289, equation 15; with `scale`, Klambauer et al.
        2017, arXiv:1706.02515, equation 2.
        """
        Y: Floats = self.xp.expm1(self.xp.minimum(X, 0))
        Y *= alpha
        Y += self.xp.maximum(X, 0)
        return Y if scale == 1 else Y * scale

    def backprop_elu(self, dY: Floats, X: Floats, alpha: float, scale: float = 1.0) -> Floats:
        """Returns the gradient of X: dY * scale where X > 0.

        Elsewhere it is dY * scale * alpha * exp(X).
        """
        derivative = self.xp.exp(self.xp.minimum(X, 0))
        derivative = self.xp.where(X > 0, derivative, derivative * alpha)
        return dY * derivative * scale

    def clipped_linear(
        self, X: Floats, slope: float, offset: float, min_val: float, max_val: float
    ) -> Floats:
        """Returns slope * X + offset, clipped to the range from min_val to max_val."""
        Y: Floats = self.xp.clip(X, *_edges(slope, offset, min_val, max_val))
        Y *= slope
        Y += offset
        return self.xp.clip(Y, min_val, max_val)

    def backprop_clipped_linear(
        self, dY: Floats, X: Floats, slope: float, offset: float, min_val: float, max_val: float
    ) -> Floats:
        """Returns the gradient of X: dY * slope where slope * X + offset is not clipped, else 0.

        At min_val and max_val themselves the gradient is 0.
        """
        low, high = _edges(slope, offset, min_val, max_val)
        dX: Floats = dY * ((low < X) & (high > X))
        dX *= slope
        return dX

    def hard_swish(self, X: Floats, edge: float) -> Floats:
        """Returns X * (X + edge) / (2 * edge) where |X| < edge.

        Returns 0 where X <= -edge and X where X >= edge.
        """
        X = self.xp.maximum(X, -edge)
        return X * self.xp.minimum((X + edge) / (2 * edge), 1)

    def backprop_hard_swish(self, dY: Floats, X: Floats, edge: float) -> Floats:
        """Returns the gradient of X: dY * (X / edge + 1 / 2) where |X| < edge.

        It is 0 where X <= -edge and dY where X >= edge.
        """
        beyond = self.xp.abs(X) >= edge
        inside = self.xp.clip(X, -edge, edge) / edge + 0.5
        return dY * self.xp.where(beyond, (X > 0).astype(X.dtype), inside)


def _edges(slope: float, offset: float, min_val: float, max_val: float) -> tuple[float, float]:
    """Returns the range of inputs in which a clipped line is not clipped."""
    ends = (min_val - offset) / slope, (max_val - offset) / slope
    return min(ends), max(ends)

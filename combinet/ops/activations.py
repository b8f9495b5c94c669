"""Activations, element by element: each function and the gradient of its input.

Right over the whole range of the dtype, infinities included, without overflow; NaN stays NaN.
None changes an array that it is given. Where a function leaves the rectifier by something that
depends on |X| alone, f(X) = max(X, 0) - h(|X|), that is how it is computed: no digits cancel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.types import Floats

_FAR = 1000.0  # exp(-1000) is 0 in every dtype, and so is its product with 1000


class ActivationOps(ArrayOps):
    """Mixed into `Ops`: the activations beside relu, gelu and softmax."""

    def sigmoid(self, X: Floats) -> Floats:
        """1 / (1 + exp(-X))."""
        e = self.xp.exp(-self.xp.abs(X))
        Y = 1 / (1 + e)
        return self.xp.where(X < 0, e * Y, Y)

    def backprop_sigmoid(self, dY: Floats, X: Floats) -> Floats:
        """DY * s(X) * s(-X); from X, since Y rounds to 1 long before the derivative vanishes."""
        e = self.xp.exp(-self.xp.abs(X))
        root = 1 / (1 + e)
        return dY * (e * root * root)

    def swish(self, X: Floats) -> Floats:
        """X * sigmoid(X). Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017."""
        size = self.xp.minimum(self.xp.abs(X), _FAR)
        e = self.xp.exp(-size)
        return self.xp.maximum(X, 0) - size * (e / (1 + e))

    def backprop_swish(self, dY: Floats, X: Floats) -> Floats:
        """DY * s(X) * (1 + X * s(-X))."""
        size = self.xp.minimum(self.xp.abs(X), _FAR)
        e = self.xp.exp(-size)
        s = 1 / (1 + e)
        below = e * s * (1 - size * s)  # the derivative at -|X|
        return dY * self.xp.where(X < 0, below, 1 - below)

    def _mish_parts(self, X: Floats) -> tuple[Any, Any, Any]:
        """For tanh(log(1 + exp X)) = n / (n + rest): n, rest, and exp(-|X|)."""
        e = self.xp.exp(-self.xp.abs(X))
        n = self.xp.where(X < 0, e * (e + 2), 1 + 2 * e)
        return n, self.xp.where(X < 0, self.xp.full_like(e, 2), 2 * e * e), e

    def mish(self, X: Floats) -> Floats:
        """X * tanh(log(1 + exp X)). Misra 2019, arXiv:1908.08681, equation 1."""
        X = self.xp.maximum(X, -_FAR)
        n, rest, _ = self._mish_parts(X)
        return X * (n / (n + rest))

    def backprop_mish(self, dY: Floats, X: Floats) -> Floats:
        """DY * (t + X * (1 - t * t) * sigmoid(X)), with t = tanh(log(1 + exp X))."""
        X = self.xp.clip(X, -_FAR, _FAR)
        n, rest, e = self._mish_parts(X)
        t, missing = n / (n + rest), rest / (n + rest)  # 1 - t would lose digits
        s = self.xp.where(X < 0, e, self.xp.ones_like(e)) / (1 + e)
        return dY * (t + X * (missing * (1 + t) * s))

    def dish(self, X: Floats) -> Floats:
        """X / 2 * (1 + X / sqrt(1 + X * X)): like swish, without an exponential."""
        size, root = self._dish_parts(X)
        return self.xp.maximum(X, 0) - size / root * (0.5 / (root + size))

    def backprop_dish(self, dY: Floats, X: Floats) -> Floats:
        """DY * (1 + z + z / (1 + X * X)) / 2, with z = X / sqrt(1 + X * X)."""
        size, root = self._dish_parts(X)
        w = 1 / root
        below = 0.5 * w * (1 / (root + size) - size * w * w)  # the derivative at -|X|
        return dY * self.xp.where(X < 0, below, 1 - below)

    def _dish_parts(self, X: Floats) -> tuple[Any, Any]:
        """|X|, so far limited that its double is finite, and sqrt(1 + X * X)."""
        size = self.xp.minimum(self.xp.abs(X), np.finfo(X.dtype).max / 4)
        return size, self.xp.hypot(size, self.xp.ones_like(size))

    def elu(self, X: Floats, alpha: float, scale: float = 1.0) -> Floats:
        """Scale * X above 0, scale * alpha * (exp(X) - 1) below.

        Clevert et al. 2016, arXiv:1511.07289, equation 15; with `scale`, Klambauer et al. 2017,
        arXiv:1706.02515, equation 2.
        """
        Y: Floats = self.xp.expm1(self.xp.minimum(X, 0))
        Y *= alpha
        Y += self.xp.maximum(X, 0)
        return Y if scale == 1 else Y * scale

    def backprop_elu(self, dY: Floats, X: Floats, alpha: float, scale: float = 1.0) -> Floats:
        """DY * scale above 0, dY * scale * alpha * exp(X) below and at 0."""
        derivative = self.xp.exp(self.xp.minimum(X, 0))
        derivative = self.xp.where(X > 0, derivative, derivative * alpha)
        return dY * derivative * scale

    def clipped_linear(
        self, X: Floats, slope: float, offset: float, min_val: float, max_val: float
    ) -> Floats:
        """X * slope + offset, between min_val and max_val."""
        Y: Floats = self.xp.clip(X, *_edges(slope, offset, min_val, max_val))
        Y *= slope
        Y += offset
        return self.xp.clip(Y, min_val, max_val)

    def backprop_clipped_linear(
        self, dY: Floats, X: Floats, slope: float, offset: float, min_val: float, max_val: float
    ) -> Floats:
        """DY * slope between the bounds, 0 beyond and on them."""
        low, high = _edges(slope, offset, min_val, max_val)
        dX: Floats = dY * ((low < X) & (high > X))
        dX *= slope
        return dX

    def hard_swish(self, X: Floats, edge: float) -> Floats:
        """0 up to -edge, X from edge on, X * (X + edge) / (2 * edge) between."""
        X = self.xp.maximum(X, -edge)
        return X * self.xp.minimum((X + edge) / (2 * edge), 1)

    def backprop_hard_swish(self, dY: Floats, X: Floats, edge: float) -> Floats:
        """DY * (X / edge + 1/2) between the edges, 0 below, dY above."""
        beyond = self.xp.abs(X) >= edge
        inside = self.xp.clip(X, -edge, edge) / edge + 0.5
        return dY * self.xp.where(beyond, (X > 0).astype(X.dtype), inside)


def _edges(slope: float, offset: float, min_val: float, max_val: float) -> tuple[float, float]:
    """Between which inputs a clipped line is not clipped."""
    ends = (min_val - offset) / slope, (max_val - offset) / slope
    return min(ends), max(ends)

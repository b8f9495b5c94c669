"""Steps of the optimizers over flat arrays. These alone write into what they are given.

On the CPU the work goes block by block, so that the temporaries stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from combinet.ops.embed import EmbedOps
from combinet.types import Floats, Floats1d, Ints1d


class AdamStep(NamedTuple):
    """The numbers of one step of Adam; `scale` and `root` make up for moments that began at 0."""

    beta1: float
    beta2: float
    scale: float
    root: float
    eps: float


class AdafactorStep(NamedTuple):
    """The numbers of one step of Adafactor; `fresh` is the part of its means that is new."""

    fresh: float
    scale: float
    decay: float
    eps: tuple[float, float]
    d: float


class UpdateOps(EmbedOps):
    """Mixed into `Ops`: what an optimizer does to all weights at once."""

    def sum_squares(self, X: Floats1d) -> Floats:
        """The sum of the squares, as an array without axes (a GPU's stays there)."""
        return self.xp.dot(X, X)

    def adam(self, W: Floats1d, dW: Floats1d, moments: Sequence[Any], step: AdamStep) -> None:
        """One step of Adam on W, with the first and the second moments, all in place.

        W -= scale * first / (root * sqrt(second) + eps), after the moments have moved toward dW
        and its square. Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
        """
        beta1, beta2, scale, root, eps = step
        for w, g, m, v in self._blocks(W, dW, *moments):
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            size = self.xp.sqrt(v)
            size *= root
            size += eps
            w -= scale * m / size

    def adam_rows(self, rows: Ints1d, W: Any, dW: Any, moments: Any, step: AdamStep) -> None:
        """`adam` on these rows of tables (nV, ...), each named once."""
        self.change_rows(lambda w, g, *m: self.adam(w, g, m, step), rows, W, dW, *moments)

    def change_rows(self, function: Callable[..., object], rows: Ints1d, *tables: Any) -> None:
        """Let `function` change copies of these rows of tables, flat, which then go back there."""
        copies = [self.take_rows(table, rows) for table in tables]
        function(*(copy.reshape(-1) for copy in copies))
        for table, copy in zip(tables, copies, strict=True):
            self.set_rows(table, rows, copy)

    def momentum(
        self, W: Floats1d, dW: Floats1d, velocity: Floats1d, rate: float, by: float, nesterov: bool
    ) -> None:
        """One step of gradient descent with momentum: velocity = by * velocity + dW.

        W -= rate * velocity; with `nesterov` W -= rate * (dW + by * velocity), the new one.
        """
        for w, g, v in self._blocks(W, dW, velocity):
            v *= by
            v += g
            w -= rate * (g + by * v if nesterov else v)

    def lion(
        self, W: Floats1d, dW: Floats1d, mean: Floats1d, rate: float, beta1: float, beta2: float
    ) -> None:
        """One step of Lion: W by the sign of a mean with beta1, then `mean` with beta2."""
        for w, g, m in self._blocks(W, dW, mean):
            w -= rate * self.xp.sign(beta1 * m + (1 - beta1) * g)
            m *= beta2
            m += (1 - beta2) * g

    def adafactor(self, W: Floats, dW: Floats, means: list[Any], step: AdafactorStep) -> None:
        """One step of Adafactor on one parameter, with its running means, in place.

        These are the means of dW**2 in rows (nO, ..., 1) and columns (1, ..., nI), or of dW**2
        itself alone. W goes by `decay` of itself, and by a step whose root mean square is `scale`
        times that of W, or less. Shazeer and Stern 2018, arXiv:1804.04235, algorithms 4 and 5.
        """
        xp, (fresh, scale, decay, eps, d) = self.xp, step
        size = scale * xp.maximum(xp.sqrt((W * W).mean()), eps[1])
        squares = dW * dW
        if len(means) == 2:
            rows, columns = means
            rows += fresh * (squares.mean(axis=-1, keepdims=True) - rows)
            columns += fresh * (squares.mean(axis=0, keepdims=True) - columns)
            total = xp.maximum(rows.mean(axis=0, keepdims=True), eps[0])
            variance = xp.multiply(rows / total, columns, out=squares)  # in the order of dW
        else:
            (variance,) = means
            variance += fresh * (squares - variance)
        change = xp.maximum(variance, eps[0] ** 2)
        change **= -0.5
        change *= dW
        change *= size / xp.maximum(xp.sqrt((change * change).mean()) / d, 1.0)
        W *= 1 - decay
        W -= change

    def add_scaled(self, W: Floats1d, X: Floats1d, scale: float) -> None:
        """W += scale * X, in place."""
        for w, x in self._blocks(W, X):
            w += scale * x

    def average(self, mean: Floats1d, W: Floats1d, decay: float) -> None:
        """The exponential running mean: mean = decay * mean + (1 - decay) * W, in place."""
        for a, w in self._blocks(mean, W):
            a += (1 - decay) * (w - a)

    def _blocks(self, *arrays: Floats1d) -> Iterator[tuple[Any, ...]]:
        block = self.block or max(len(arrays[0]), 1)
        for start in range(0, len(arrays[0]), block):
            yield tuple(array[start : start + block] for array in arrays)

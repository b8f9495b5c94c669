"""Steps of the optimizers over flat arrays. All methods but `sum_squares` write into arguments.

On the CPU they process blocks of elements, so that temporaries stay in the cache.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from combinet.ops.embed import EmbedOps
from combinet.types import Floats, Floats1d, Ints1d


class AdamStep(NamedTuple):
    """The numbers of one step of Adam.

    `beta1` and `beta2` are the decay rates of the moments. `scale` is the learning rate, and `root`
    the factor of the square root; both include the correction of the bias toward 0. `eps` is added
    to the denominator.
    """

    beta1: float
    beta2: float
    scale: float
    root: float
    eps: float


class AdafactorStep(NamedTuple):
    """The numbers of one step of Adafactor.

    `fresh` is the weight of the new squares in the running means. `scale` is the size of the step
    relative to W, and `decay` the fraction of W that is subtracted. `eps` holds lower bounds for
    the means and for the root mean square of W. `d` is the largest root mean square of a step
    before it is scaled.
    """

    fresh: float
    scale: float
    decay: float
    eps: tuple[float, float]
    d: float


class UpdateOps(EmbedOps):
    """Part of `Ops`: the steps of optimizers, for all weights at once.

    W holds weights and dW their gradient. Unless another shape is given, arrays are flat: (n,).
    """

    def sum_squares(self, X: Floats1d) -> Floats:
        """Returns the sum of the squares of X (n,). On a GPU, the result stays on the device."""
        return self.xp.dot(X, X)

    def adam(self, W: Floats1d, dW: Floats1d, moments: Sequence[Any], step: AdamStep) -> None:
        """Updates W by one step of Adam, in place.

            m = beta1 * m + (1 - beta1) * dW
            v = beta2 * v + (1 - beta2) * dW * dW
            W -= scale * m / (root * sqrt(v) + eps)

        `moments` are m and v, which are also updated in place. `step` holds the numbers. All arrays
        are (n,).

        Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
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
        """Updates some rows of a table W by one step of `adam`, in place.

        `rows` are distinct ints. W, dW and the two `moments` are (nV, ...), and `step` holds the
        numbers.
        """
        self.change_rows(lambda w, g, *m: self.adam(w, g, m, step), rows, W, dW, *moments)

    def change_rows(self, function: Callable[..., object], rows: Ints1d, *tables: Any) -> None:
        """Lets `function` change some rows of `tables`, in place.

        `function` receives a flat copy of the rows of each table and changes it in place. The
        copies are then written back. `rows` are distinct ints, and each table is (nV, ...).
        """
        copies = [self.take_rows(table, rows) for table in tables]
        function(*(copy.reshape(-1) for copy in copies))
        for table, copy in zip(tables, copies, strict=True):
            self.set_rows(table, rows, copy)

    def momentum(
        self, W: Floats1d, dW: Floats1d, velocity: Floats1d, rate: float, by: float, nesterov: bool
    ) -> None:
        """Updates W by one step of gradient descent with momentum, in place.

            velocity = by * velocity + dW
            W -= rate * velocity, or, if `nesterov`, W -= rate * (dW + by * velocity)

        W, dW and `velocity` are (n,). `rate` and `by` are floats.
        """
        for w, g, v in self._blocks(W, dW, velocity):
            v *= by
            v += g
            w -= rate * (g + by * v if nesterov else v)

    def lion(
        self, W: Floats1d, dW: Floats1d, mean: Floats1d, rate: float, beta1: float, beta2: float
    ) -> None:
        """Updates W by one step of Lion, in place.

            W -= rate * sign(beta1 * mean + (1 - beta1) * dW)
            mean = beta2 * mean + (1 - beta2) * dW

        W, dW and `mean` are (n,). The other arguments are floats.
        """
        for w, g, m in self._blocks(W, dW, mean):
            w -= rate * self.xp.sign(beta1 * m + (1 - beta1) * g)
            m *= beta2
            m += (1 - beta2) * g

    def adafactor(self, W: Floats, dW: Floats, means: list[Any], step: AdafactorStep) -> None:
        """Updates one parameter W by one step of Adafactor, in place, with its running means.

        W and dW are (nO, ..., nI). `means` are the running means of dW * dW over the last axis,
        (nO, ..., 1), and over the first axis, (1, ..., nI). For a vector it is one running mean in
        the shape of W. `step` holds the numbers. W loses the fraction `decay`. The root mean square
        of the step is at most d * scale times the root mean square of W.

        Source: Shazeer and Stern 2018, arXiv:1804.04235, algorithms 4 and 5.
        """
        xp, (fresh, scale, decay, eps, d) = self.xp, step
        size = scale * xp.maximum(xp.sqrt((W * W).mean()), eps[1])
        squares = dW * dW
        if len(means) == 2:
            rows, columns = means
            rows += fresh * (squares.mean(axis=-1, keepdims=True) - rows)
            columns += fresh * (squares.mean(axis=0, keepdims=True) - columns)
            total = xp.maximum(rows.mean(axis=0, keepdims=True), eps[0])
            variance = xp.multiply(rows / total, columns, out=squares)  # in the memory order of dW
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
        """Updates W += scale * X, in place. W and X are (n,), and `scale` is a float."""
        for w, x in self._blocks(W, X):
            w += scale * x

    def average(self, mean: Floats1d, W: Floats1d, decay: float) -> None:
        """Updates the running mean: mean = decay * mean + (1 - decay) * W, in place.

        `mean` and W are (n,), and `decay` is a float from 0 to 1.
        """
        for a, w in self._blocks(mean, W):
            a += (1 - decay) * (w - a)

    def _blocks(self, *arrays: Floats1d) -> Iterator[tuple[Any, ...]]:
        block = self.block or max(len(arrays[0]), 1)
        for start in range(0, len(arrays[0]), block):
            yield tuple(array[start : start + block] for array in arrays)

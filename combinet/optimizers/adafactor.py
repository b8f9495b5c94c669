"""Adafactor: steps by the spread of the gradient, of which rows and columns are kept alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from combinet.ops.update import AdafactorStep
from combinet.optimizers.base import Optimizer, Options
from combinet.optimizers.spans import Span
from combinet.schedules import Bounds, require
from combinet.types import Schedule, Shape

if TYPE_CHECKING:
    from typing_extensions import Unpack


def _are_from_0(eps: Any) -> bool:
    first, second = eps
    return all(0 <= each < math.inf for each in (first or 0, second))


class Adafactor(Optimizer):
    """As Adam without momentum, in little memory: of dW**2 the means of rows and columns are kept.

    With R and C the running means of dW**2 over each row and each column, V = R C / mean(R) and
    U = dW / sqrt(V): W -= a * U / max(1, RMS(U) / d), with a = max(eps[1], RMS(W)) *
    min(learn_rate, 1 / sqrt(t)), at the parameter's t-th update, whose dW**2 enters the means with
    weight t**beta2_decay. A step is thus in proportion to the weights. Shazeer and Stern 2018,
    arXiv:1804.04235, algorithms 4, 5 and 7; as in PyTorch sqrt(V) and mean(R) are eps[0] or more
    (None: the smallest difference of the dtype), where the paper adds to dW**2.

    Rows are the first axis and columns the last, output and input: what lies between, such as the
    pieces of a maxout, are matrices apart, as PyTorch takes the axes before the last two. Of a
    vector V itself is kept. With `use_averages`, here False at first, an array as large as the
    weights is kept after all. The other keywords are those of `Optimizer`; L2 decays by
    learn_rate * L2 * W. Raises InputError if beta2_decay is above 0 or d below 1.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), Adafactor(0.5))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.0
    """

    by_parameter = True

    def __init__(
        self,
        learn_rate: float | Schedule = 0.01,
        *,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        **options: Unpack[Options],
    ) -> None:
        name = type(self).__name__
        to_0: Bounds = (lambda x: -math.inf < x <= 0, "a number up to 0")
        from_1: Bounds = (lambda x: 1 <= x < math.inf, "a number from 1")
        require(name, to_0, beta2_decay=beta2_decay)
        require(name, from_1, d=d)
        require(name, (_are_from_0, "two numbers from 0, the first or None,"), eps=eps)
        options["use_averages"] = options.get("use_averages", False)
        super().__init__(learn_rate, **options)
        self.beta2_decay = beta2_decay
        self.eps = eps
        self.d = d

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Those of the means of rows and columns; of a vector its own."""
        if len(shape) < 2:
            return {"variance": shape}
        return {"rows": (*shape[:-1], 1), "columns": (1, *shape[1:])}

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """See `Optimizer.apply_span`. A step's size is that of W before it decays."""
        store, steps = span.store, span.store.optimizer_state(self).steps
        for slot in span.slots():
            W, dW = slot.of(store.weights), slot.of(store.writable_gradient())
            if not self.L2_is_weight_decay:
                dW += L2 * W
            least = self.eps[0] if self.eps[0] is not None else float(np.finfo(W.dtype).eps)
            t = int(steps[slot.number])
            fresh, scale = t**self.beta2_decay, min(rate, t**-0.5)
            decay = rate * L2 if self.L2_is_weight_decay else 0.0
            step = AdafactorStep(fresh, scale, decay, (least, self.eps[1]), self.d)
            store.ops.adafactor(W, dW, [*self.state(slot).values()], step)

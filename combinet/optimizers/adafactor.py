"""Adafactor, which keeps row and column means of squared gradients instead of full moments."""

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
    """Like Adam without momentum, but keeps only the row and column means of dW**2.

    At the t-th update of a parameter, dW**2 enters the running means R of its rows and C of its
    columns with weight t**beta2_decay. Then

        V = R C / mean(R),  U = dW / sqrt(V),
        a = max(eps[1], RMS(W)) * min(learn_rate, 1 / sqrt(t)),
        W -= a * U / max(1, RMS(U) / d),

    where RMS is the root mean square. So a step is proportional to the size of the weights. As in
    PyTorch, sqrt(V) and mean(R) are at least eps[0]; the paper adds eps[0] to dW**2.

    The rows of a parameter are its first axis, the outputs, and the columns its last, the inputs.
    Axes in between, such as the pieces of a maxout, number separate matrices. PyTorch treats all
    axes before the last two like that. For a vector the optimizer keeps V itself.

    Args:
        learn_rate: Learning rate relative to RMS(W): a non-negative number or a schedule.
        beta2_decay: Exponent of the weight of new gradients in the means, at most 0.
        eps: Two non-negative numbers: the lower bound of sqrt(V) and mean(R), and the lower bound
            of RMS(W). If the first is None, it is the machine epsilon of the weights' dtype.
        d: Largest RMS of U before it is scaled down, at least 1.
        **options: Keyword arguments of `Optimizer`. L2 decays by learn_rate * L2 * W. use_averages
            is False by default, because averages need as much memory as the weights. sparse and
            threads are not supported.

    Raises:
        InputError: If a setting is out of range.

    Example:
        >>> import numpy as np
        >>> from combinet import Adafactor, Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), Adafactor(0.5))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.0

    Source: Shazeer and Stern 2018, arXiv:1804.04235, algorithms 4, 5 and 7.
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
        to_0: Bounds = (lambda x: -math.inf < x <= 0, "a number of at most 0")
        from_1: Bounds = (lambda x: 1 <= x < math.inf, "a number of at least 1")
        require(name, to_0, beta2_decay=beta2_decay)
        require(name, from_1, d=d)
        require(name, (_are_from_0, "two non-negative numbers (first may be None)"), eps=eps)
        options["use_averages"] = options.get("use_averages", False)
        super().__init__(learn_rate, **options)
        self.beta2_decay = beta2_decay
        self.eps = eps
        self.d = d

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns the shapes of the row and column means. For a vector, its own shape.

        Args:
            shape: Shape of the parameter.
        """
        if len(shape) < 2:
            return {"variance": shape}
        return {"rows": (*shape[:-1], 1), "columns": (1, *shape[1:])}

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """See `Optimizer.apply_span`. RMS(W) is taken before W decays."""
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

"""Lookahead: another optimizer's steps, drawn back from time to time."""

from __future__ import annotations

from functools import partial
from typing import Any

from combinet.errors import InputError
from combinet.optimizers.base import Optimizer, Options
from combinet.optimizers.spans import Span
from combinet.storage.slots import Slot
from combinet.types import Array, Shape


class Lookahead(Optimizer):
    """The steps of another optimizer; after every k-th, slow += alpha * (W - slow), W = slow.

    `slow` is at first the weights before the first step; the count is each parameter's own.
    Weights that are set, by `set_param` or by loading, don't change it: they are drawn back to it.
    All settings (rates, clipping, decay, averages, noise) are those of `optimizer`, which is not
    to be used by itself beside this. Zhang et al. 2019, arXiv:1907.08610, algorithm 1.

    Example:
        >>> import numpy as np
        >>> from combinet import SGD, Linear
        >>> model, sgd = Linear(1, 1).initialize(), Lookahead(SGD(1.0), k=2, alpha=0.5)
        >>> model.set_param("W", [[2.0]])
        >>> for step in range(2):
        ...     Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        ...     dX = backprop(np.full((1, 1), 0.5, "f"), sgd)
        ...     print(model.get_param("W")[0, 0])
        1.5
        1.5
    """

    def __init__(self, optimizer: Optimizer, *, k: int = 5, alpha: float = 0.5) -> None:
        if not isinstance(k, int) or k < 1 or not 0 < alpha <= 1:
            raise InputError(f"k is an int from 1 and 0 < alpha <= 1, not {k!r} and {alpha!r}")
        if not isinstance(optimizer, Optimizer) or isinstance(optimizer, Lookahead):
            raise InputError(f"Lookahead takes an optimizer of another kind, not {optimizer!r}")
        if optimizer.sparse:
            raise InputError("Lookahead looks at whole parameters: it takes no sparse optimizer")
        settings: Any = {name: getattr(optimizer, name) for name in Options.__annotations__}
        super().__init__(optimizer.learn_rate, ("slow",), **settings)
        self.optimizer = optimizer
        self.k = k
        self.alpha = alpha

    @property
    def kind(self) -> str:
        """The name under which the state is saved, with that of the other optimizer."""
        return f"Lookahead({self.optimizer.kind})"

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Those of the other optimizer, and the slow weights."""
        return self.optimizer.shapes(shape) | super().shapes(shape)

    def state(self, slot: Slot) -> dict[str, Array]:
        """That of the other optimizer, and the slow weights."""
        return self.optimizer.state(slot) | super().state(slot)

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """The other optimizer's step, and every k-th time the step back."""
        store, weights = span.store, span.store.weights
        state = store.optimizer_state(self)
        store.optimizer_state(self.optimizer).steps = state.steps  # the same are counted
        slow, by_step_count = state.arrays["slow"], span.by_step_count(state.steps)
        for t, same in by_step_count:
            if t == 1:
                same.of(slow)[...] = same.of(weights)
        self.optimizer.apply_span(span, rate, L2)
        for t, same in by_step_count:
            if t % self.k == 0:
                average = partial(store.ops.average, decay=1 - self.alpha)
                same.change(average, slow, weights, threads=self.threads)
                same.of(weights)[...] = same.of(slow)

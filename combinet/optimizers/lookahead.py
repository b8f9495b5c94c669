"""Lookahead, which wraps another optimizer and averages its steps."""

from functools import partial
from typing import Any

from combinet.errors import InputError, describe
from combinet.optimizers.base import Optimizer, Options
from combinet.optimizers.spans import Span
from combinet.storage.slots import Slot
from combinet.types import Array, Shape


class Lookahead(Optimizer):
    """Takes the steps of another optimizer; after every k-th, slow += alpha * (W - slow), W = slow.

    The slow weights start as the weights before the first step. Steps are counted per parameter.
    `set_param` and loading do not change the slow weights, so the next k-th step moves the new
    weights toward the old slow ones.

    Lookahead copies the settings of `optimizer` (rates, clipping, decay, averages, noise). Change
    `learn_rate`, `L2` and `grad_noise` on the Lookahead. Do not use `optimizer` for other updates.

    Args:
        optimizer: The optimizer that takes the steps. Neither sparse nor a Lookahead.
        k: Number of steps between two updates of the slow weights, at least 1.
        alpha: Fraction of the distance that the slow weights move, above 0 and at most 1.

    Raises:
        InputError: If an argument is out of range, or `optimizer` is not supported.

    Example:
        >>> import numpy as np
        >>> from combinet import SGD, Linear, Lookahead
        >>> model, sgd = Linear(1, 1).initialize(), Lookahead(SGD(1.0), k=2, alpha=0.5)
        >>> model.set_param("W", [[2.0]])
        >>> for step in range(2):
        ...     Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        ...     dX = backprop(np.full((1, 1), 0.5, "f"), sgd)
        ...     print(model.get_param("W")[0, 0])
        1.5
        1.5

    Source: Zhang et al. 2019, arXiv:1907.08610, algorithm 1.
    """

    def __init__(self, optimizer: Optimizer, *, k: int = 5, alpha: float = 0.5) -> None:
        if not isinstance(k, int) or k < 1 or not 0 < alpha <= 1:
            raise InputError(f"expected an int k >= 1 and 0 < alpha <= 1, got {k!r} and {alpha!r}")
        if not isinstance(optimizer, Optimizer) or isinstance(optimizer, Lookahead):
            raise InputError(f"Lookahead expected another optimizer, got {describe(optimizer)}")
        if optimizer.sparse:
            raise InputError("Lookahead expected an optimizer with sparse=False, got sparse=True")
        settings: Any = {name: getattr(optimizer, name) for name in Options.__annotations__}
        super().__init__(optimizer.learn_rate, ("slow",), **settings)
        self.optimizer = optimizer
        self.k = k
        self.alpha = alpha

    @property
    def kind(self) -> str:
        """The name under which the state is saved. It includes the wrapped optimizer's name."""
        return f"Lookahead({self.optimizer.kind})"

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns the shapes of the wrapped optimizer's state and of the slow weights.

        Args:
            shape: Shape of the parameter.
        """
        return self.optimizer.shapes(shape) | super().shapes(shape)

    def state(self, slot: Slot) -> dict[str, Array]:
        """Returns the wrapped optimizer's state and the slow weights.

        Args:
            slot: Slot of the parameter.
        """
        return self.optimizer.state(slot) | super().state(slot)

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """See `Optimizer.apply_span`. Every k-th step also moves the slow weights."""
        store, weights = span.store, span.store.weights
        state = store.optimizer_state(self)
        store.optimizer_state(self.optimizer).steps = state.steps  # shared: counted once
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

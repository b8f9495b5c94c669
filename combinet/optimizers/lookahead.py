"""Lookahead: another optimizer's steps, drawn back from time to time."""

from __future__ import annotations

from combinet.errors import InputError
from combinet.ops.base import Ops
from combinet.optimizers.base import Optimizer
from combinet.types import Array, Floats1d, Shape


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
        super().__init__(
            optimizer.learn_rate,
            (*optimizer.arrays, "slow"),
            L2=optimizer.L2,
            grad_clip=optimizer.grad_clip,
            L2_is_weight_decay=optimizer.L2_is_weight_decay,
            use_averages=optimizer.use_averages,
            average_decay=optimizer.average_decay,
            grad_noise=optimizer.grad_noise,
            rng=optimizer.rng,
            threads=optimizer.threads,
        )
        self.optimizer = optimizer
        self.by_parameter = optimizer.by_parameter
        self.k = k
        self.alpha = alpha

    @property
    def kind(self) -> str:
        """The name under which the state is saved, with that of the other optimizer."""
        return f"Lookahead({self.optimizer.kind})"

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Those of the other optimizer, and the slow weights."""
        return {**self.optimizer.shapes(shape), "slow": shape}

    def decay_and_apply(
        self,
        ops: Ops,
        W: Floats1d,
        dW: Floats1d,
        state: list[Array],
        t: int,
        rate: float,
        L2: float,
    ) -> None:
        """The other optimizer's step, and every k-th time the step back."""
        *others, slow = state
        if t == 1:
            slow[...] = W  # before the decay, so not in `apply`
        self.optimizer.decay_and_apply(ops, W, dW, others, t, rate, L2)
        if t % self.k == 0:
            ops.average(slow, W, 1 - self.alpha)
            W[...] = slow

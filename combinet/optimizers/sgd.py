"""SGD with and without momentum, and Lion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from combinet.errors import InputError
from combinet.ops.base import Ops
from combinet.optimizers.base import Optimizer, Options
from combinet.schedules import BELOW_1, require
from combinet.types import Array, Schedule

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SGD(Optimizer):
    """Stochastic gradient descent, W -= learn_rate * dW, with optional momentum.

    With momentum, v = momentum * v + dW and W -= learn_rate * v. With Nesterov's momentum,
    W -= learn_rate * (dW + momentum * v), as in PyTorch.

    Args:
        learn_rate: Learning rate: a non-negative number or a schedule.
        momentum: Decay rate of v, from 0 to below 1. 0 keeps no v.
        nesterov: Whether to use Nesterov's momentum. Needs momentum above 0.
        **options: Keyword arguments of `Optimizer`: L2, L2_is_weight_decay, grad_clip,
            use_averages, average_decay, grad_noise, rng, sparse and threads.

    Raises:
        InputError: If a setting is out of range, or nesterov is set without momentum.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, SGD
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), SGD(0.5, grad_clip=0))
        >>> float(model.get_param("W")[0, 0])
        1.5

    Source: Nesterov's momentum: Sutskever et al. 2013.
    """

    def __init__(
        self,
        learn_rate: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        require(type(self).__name__, BELOW_1, momentum=momentum)
        if nesterov and not momentum:
            raise InputError("nesterov=True needs momentum: pass momentum=, such as 0.9")
        super().__init__(learn_rate, ("velocity",) if momentum else (), **options)
        self.momentum = momentum
        self.nesterov = nesterov

    def apply(self, ops: Ops, W: Array, dW: Array, state: list[Array], t: int, rate: float) -> None:
        """See `Optimizer.apply`."""
        if state:
            ops.momentum(W, dW, state[0], rate, self.momentum, self.nesterov)
        else:
            ops.add_scaled(W, dW, -rate)


class Lion(Optimizer):
    """Steps by the sign of a running mean of the gradient, so all weights move equally far.

        W -= learn_rate * sign(beta1 * m + (1 - beta1) * dW)
        m = beta2 * m + (1 - beta2) * dW

    Use a tenth to a third of Adam's learning rate, and three to ten times its L2. Lion keeps one
    number per weight, where Adam keeps two.

    Args:
        learn_rate: Learning rate: a non-negative number or a schedule.
        beta1: Weight of the running mean in the step, from 0 to below 1.
        beta2: Decay rate of the running mean, from 0 to below 1.
        **options: Keyword arguments of `Optimizer`: L2, L2_is_weight_decay, grad_clip,
            use_averages, average_decay, grad_noise, rng, sparse and threads.

    Raises:
        InputError: If a setting is out of range.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, Lion
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.full((1, 1), 0.01, "f"), Lion(0.5))
        >>> float(model.get_param("W")[0, 0])
        1.5

    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    def __init__(
        self,
        learn_rate: float | Schedule = 0.0001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.99,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learn_rate, ("momentum",), **options)
        require(type(self).__name__, BELOW_1, beta1=beta1, beta2=beta2)
        self.beta1 = beta1
        self.beta2 = beta2

    def apply(self, ops: Ops, W: Array, dW: Array, state: list[Array], t: int, rate: float) -> None:
        """See `Optimizer.apply`."""
        ops.lion(W, dW, state[0], rate, self.beta1, self.beta2)

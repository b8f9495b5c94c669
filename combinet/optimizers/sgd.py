"""Gradient descent, with momentum too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from combinet.errors import InputError
from combinet.ops.base import Ops
from combinet.optimizers.base import Optimizer, Options
from combinet.schedules import BELOW_1, require
from combinet.types import Array, Floats1d, Schedule

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SGD(Optimizer):
    """Gradient descent, W -= learn_rate * dW; with `momentum`, v = momentum * v + dW for dW.

    With `nesterov` it is dW + momentum * v for v: Nesterov's momentum as Sutskever et al. 2013
    have it, in the form of PyTorch. Keywords are those of `Optimizer`.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), SGD(0.5, grad_clip=0))
        >>> float(model.get_param("W")[0, 0])
        1.5
    """

    def __init__(
        self,
        learn_rate: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        require(type(self).__name__, "momentum", momentum, *BELOW_1)
        if nesterov and not momentum:
            raise InputError("nesterov is a form of momentum: give momentum=, such as 0.9")
        super().__init__(learn_rate, ("velocity",) if momentum else (), **options)
        self.momentum = momentum
        self.nesterov = nesterov

    def apply(
        self, ops: Ops, W: Floats1d, dW: Floats1d, state: list[Array], t: int, rate: float
    ) -> None:
        """See `Optimizer.apply`."""
        if state:
            ops.momentum(W, dW, state[0], rate, self.momentum, self.nesterov)
        else:
            ops.add_scaled(W, dW, -rate)

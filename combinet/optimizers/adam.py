"""Adam, AdamW and RAdam: steps from running means of the gradient and its square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from combinet.errors import InputError
from combinet.ops.base import Ops
from combinet.ops.update import AdamStep
from combinet.optimizers.base import Optimizer, Options
from combinet.schedules import BELOW_1, FROM_0, require
from combinet.types import Array, Ints1d, Schedule

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Adam(Optimizer):
    """Steps W -= learn_rate * m / (sqrt(v) + eps), with running means m of dW and v of dW**2.

    The means start at 0 and are corrected for that. If L2 is set, it decays the weights separately
    from the step, as in `AdamW`, unless `L2_is_weight_decay` is False.

    Args:
        learn_rate: Learning rate: a non-negative number or a schedule.
        beta1: Decay rate of the mean of dW, from 0 to below 1.
        beta2: Decay rate of the mean of dW**2, from 0 to below 1.
        eps: Added to the denominator, from 0.
        **options: Keyword arguments of `Optimizer`: L2, L2_is_weight_decay, grad_clip,
            use_averages, average_decay, grad_noise, rng, sparse and threads.

    Raises:
        InputError: If a setting is out of range.

    Example:
        >>> import numpy as np
        >>> from combinet import Adam, Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), Adam(0.5))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.5

    Source: Kingma and Ba 2015, arXiv:1412.6980.
    """

    default_L2 = 0.0

    def __init__(
        self,
        learn_rate: float | Schedule = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        options["L2"] = options.get("L2", self.default_L2)
        super().__init__(learn_rate, ("first", "second"), **options)
        require(type(self).__name__, BELOW_1, beta1=beta1, beta2=beta2)
        require(type(self).__name__, FROM_0, eps=eps)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def apply(self, ops: Ops, W: Array, dW: Array, state: list[Array], t: int, rate: float) -> None:
        """See `Optimizer.apply`."""
        ops.adam(W, dW, state, self._plan(t, rate))

    def apply_rows(
        self, ops: Ops, rows: Ints1d, W: Array, dW: Array, state: list[Array], t: int, rate: float
    ) -> None:
        """See `Optimizer.apply_rows`."""
        ops.adam_rows(rows, W, dW, state, self._plan(t, rate))

    def _plan(self, t: int, rate: float) -> AdamStep:
        """Returns the coefficients of the t-th step."""
        scale, root = rate / (1 - self.beta1**t), (1 - self.beta2**t) ** -0.5
        return AdamStep(self.beta1, self.beta2, scale, root, self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: W -= learn_rate * (m / (sqrt(v) + eps) + L2 * W).

    `Adam(L2=...)` computes the same. The default of its L2 is 0, and it also accepts
    `L2_is_weight_decay=False`.

    Args:
        learn_rate: Learning rate: a non-negative number or a schedule.
        beta1: Decay rate of the mean of dW, from 0 to below 1.
        beta2: Decay rate of the mean of dW**2, from 0 to below 1.
        eps: Added to the denominator, from 0.
        **options: Keyword arguments of `Optimizer`. L2 is 0.01 by default. L2_is_weight_decay must
            be True.

    Raises:
        InputError: If a setting is out of range, or L2_is_weight_decay is False.

    Example:
        >>> import numpy as np
        >>> from combinet import AdamW, Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), AdamW(0.5, L2=0.1))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.4

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    default_L2 = 0.01

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute. L2_is_weight_decay stays True."""
        if name == "L2_is_weight_decay" and not value:
            raise InputError("AdamW expected L2_is_weight_decay=True, got False; use Adam instead")
        super().__setattr__(name, value)


class RAdam(Adam):
    """Rectified Adam: does not divide by sqrt(v) while v is estimated from too few gradients.

    At a parameter's t-th update

        rho_inf = 2 / (1 - beta2) - 1,  rho = rho_inf - 2 t beta2^t / (1 - beta2^t),
        r^2 = (rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho).

    While rho is at most 5, W -= learn_rate * m. Afterwards W -= learn_rate * r * m / sqrt(v). As in
    PyTorch, the threshold is 5, and eps is added to the root of the uncorrected v.

    Args:
        learn_rate: Learning rate: a non-negative number or a schedule.
        beta1: Decay rate of the mean m of dW, from 0 to below 1.
        beta2: Decay rate of the mean v of dW**2, from 0 to below 1.
        eps: Added to the denominator, from 0.
        **options: Keyword arguments of `Optimizer`: L2, L2_is_weight_decay, grad_clip,
            use_averages, average_decay, grad_noise, rng, sparse and threads.

    Raises:
        InputError: If a setting is out of range.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, RAdam
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.full((1, 1), 0.5, "f"), RAdam(0.5))
        >>> float(model.get_param("W")[0, 0])
        1.75

    Source: Liu et al. 2020, arXiv:1908.03265, algorithm 2.
    """

    def _plan(self, t: int, rate: float) -> AdamStep:
        bias = 1 - self.beta2**t
        most = 2 / (1 - self.beta2) - 1
        rho = most - 2 * t * self.beta2**t / bias
        plan = super()._plan(t, rate)
        if rho > 5:
            square = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
            return plan._replace(scale=plan.scale * square**0.5, eps=self.eps * bias**-0.5)
        return plan._replace(root=0.0, eps=1.0)  # makes the denominator 1

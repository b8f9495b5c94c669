"""Adam and its kin: steps in proportion to the gradient's mean over its spread."""

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
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), by default with decoupled decay: AdamW.

    With m and v the running means of dW and dW**2, corrected for starting at 0:
    W -= learn_rate * m / (sqrt(v) + eps). Keywords are those of `Optimizer`.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), Adam(0.5))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.5
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
        """The numbers of the t-th step."""
        scale, root = rate / (1 - self.beta1**t), (1 - self.beta2**t) ** -0.5
        return AdamStep(self.beta1, self.beta2, scale, root, self.eps)


class AdamW(Adam):
    """`Adam` with decoupled decay of the weights, `L2`, 0.01 unless told otherwise.

    W -= learn_rate * (m / (sqrt(v) + eps) + L2 * W). Loshchilov and Hutter 2019,
    arXiv:1711.05101, algorithm 2. `Adam(L2=...)` does the same; its L2 is 0 at first, and it
    takes `L2_is_weight_decay=False`, which is refused here.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), AdamW(0.5, L2=0.1))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.4
    """

    default_L2 = 0.01

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; not what would make this Adam."""
        if name == "L2_is_weight_decay" and not value:
            raise InputError("AdamW decays the weights; for L2 in the gradient there is Adam")
        super().__setattr__(name, value)


class RAdam(Adam):
    """Rectified Adam: without the root of v as long as too few gradients have been seen for it.

    With rho = rho_inf - 2 t beta2^t / (1 - beta2^t), rho_inf = 2 / (1 - beta2) - 1: while rho is 5
    or less W -= learn_rate * m, afterwards W -= learn_rate * r * m / sqrt(v), with
    r^2 = (rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho). Liu et al. 2020,
    arXiv:1908.03265, algorithm 2; the bound 5, and eps beside the uncorrected root, are PyTorch's.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.full((1, 1), 0.5, "f"), RAdam(0.5))
        >>> float(model.get_param("W")[0, 0])
        1.75
    """

    def _plan(self, t: int, rate: float) -> AdamStep:
        bias = 1 - self.beta2**t
        most = 2 / (1 - self.beta2) - 1
        rho = most - 2 * t * self.beta2**t / bias
        plan = super()._plan(t, rate)
        if rho > 5:
            square = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
            return plan._replace(scale=plan.scale * square**0.5, eps=self.eps * bias**-0.5)
        return plan._replace(root=0.0, eps=1.0)  # a denominator of 1

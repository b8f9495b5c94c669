"""Scaling of gradients in float16, where small numbers would become 0."""

from collections.abc import Callable, Sequence

import torch

Gradients = Sequence[torch.Tensor | None]


class GradientScale:
    """The factor that scales gradients during a backward pass in float16.

    If a gradient overflows, the backward pass runs again with half the factor, so no gradient is
    lost. After `interval` passes without an overflow the factor doubles. The default values are
    those of `torch.amp.GradScaler`.

    Args:
        factor: Initial factor.
        interval: Number of passes without an overflow before the factor doubles.

    Example:
        >>> scale = GradientScale(2.0**20)
        >>> half = scale(lambda factor: [torch.tensor(factor / 2, dtype=torch.float16).float()])
        >>> half, scale.factor
        ([tensor(0.5000)], 65536.0)

    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
    """

    def __init__(self, factor: float = 2.0**16, interval: int = 2000) -> None:
        self.factor = factor
        self.interval = interval
        self._good = 0  # passes since the factor changed

    def __call__(self, compute: Callable[[float], Gradients]) -> list[torch.Tensor | None]:
        """The gradients. `compute(factor)` returns them multiplied by the factor."""
        factor = self.factor
        gradients = compute(factor)
        while factor > 1 and not all(g is None or _is_finite(g) for g in gradients):
            factor, self._good = factor / 2, -1
            gradients = compute(factor)
        self._good += 1
        self.factor = factor * 2 if self._good == self.interval else factor
        self._good %= self.interval
        return [None if g is None else g / factor for g in gradients]


def _is_finite(gradient: torch.Tensor) -> bool:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.isfinite().all())

"""Rates that change as training goes on: pure functions of the step, counted from 0.

Wherever an optimizer takes a rate it takes a schedule; they serve for batch sizes too.
"""

from __future__ import annotations

from combinet.types import Schedule


def constant(rate: float) -> Schedule:
    """The same at every step.

    Example:
        >>> constant(0.1)(7)
        0.1
    """
    return lambda step: rate


def decaying(base_rate: float, decay: float) -> Schedule:
    """base_rate / (1 + decay * step).

    Example:
        >>> decaying(0.01, 1.0)(1)
        0.005
    """
    return lambda step: base_rate / (1.0 + decay * step)


def compounding(start: float, stop: float, compound: float) -> Schedule:
    """Start * compound ** step, held at stop once it is reached. Rises or falls.

    Example:
        >>> size = compounding(1.0, 32.0, 2.0)
        >>> [size(step) for step in range(7)]
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0]
    """
    low, high = min(start, stop), max(start, stop)

    def schedule(step: int) -> float:
        try:
            return float(min(max(start * compound**step, low), high))
        except OverflowError:
            return float(high)

    return schedule


def warmup_linear(initial_rate: float, warmup_steps: int, total_steps: int) -> Schedule:
    """Rises linearly from 0 in warmup_steps, then falls linearly, to 0 at total_steps.

    Example:
        >>> rate = warmup_linear(1.0, 4, 8)
        >>> [rate(step) for step in (0, 2, 4, 6, 8)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def schedule(step: int) -> float:
        if step < warmup_steps:
            return initial_rate * step / warmup_steps
        left = (total_steps - step) / max(1, total_steps - warmup_steps)
        return initial_rate * max(0.0, left)

    return schedule

"""Rates that change as training goes on: pure functions of the step, counted from 0.

Wherever an optimizer takes a rate it takes a schedule; they serve for batch sizes too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from combinet.errors import InputError
from combinet.types import Schedule

Bounds = tuple[Callable[[Any], bool], str]

FROM_0: Bounds = (lambda x: 0 <= x < math.inf, "a number from 0")
BELOW_1: Bounds = (lambda x: 0 <= x < 1, "a number from 0 to below 1")
RATE: Bounds = (lambda x: callable(x) or 0 <= x < math.inf, "a number from 0 or a schedule")


def require(owner: str, bounds: Bounds, **values: Any) -> None:
    """Refuse values out of bounds, or that are no numbers: InputError, with the owner's name."""
    fits, what = bounds
    for name, value in values.items():
        try:
            fine = bool(fits(value))
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise InputError(f"{owner} takes {what} for {name}, not {value!r}")


def as_schedule(owner: str, schedule: float | Schedule) -> Schedule:
    """A schedule as it is; a number, from 0, as one that stays the same."""
    require(owner, RATE, schedule=schedule)
    return schedule if callable(schedule) else constant(schedule)


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


def constant_then(rate: float, steps: int, schedule: float | Schedule) -> Schedule:
    """The same for a number of steps, then another schedule from its beginning, or a number.

    Example:
        >>> rate = constant_then(1.0, 2, decaying(1.0, 1.0))
        >>> [rate(step) for step in range(4)]
        [1.0, 1.0, 1.0, 0.5]
    """
    after = as_schedule("constant_then", schedule)
    return lambda step: rate if step < steps else after(step - steps)


def cosine(initial_rate: float, total_steps: int, *, final_rate: float = 0.0) -> Schedule:
    """Falls from initial_rate along half a cosine, to final_rate at total_steps, and stays there.

    Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5, without restarts.

    Example:
        >>> rate = cosine(1.0, 4)
        >>> [round(rate(step), 4) for step in (0, 1, 2, 3, 4, 5)]
        [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """
    return lambda step: _cosine(initial_rate, final_rate, step / max(1, total_steps))


def _cosine(start: float, stop: float, done: float) -> float:
    """The way from start to stop, of which the part `done` lies behind."""
    return stop + (start - stop) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def slanted_triangular(
    max_rate: float, num_steps: int, *, cut_frac: float = 0.1, ratio: float = 32
) -> Schedule:
    """A short rise to max_rate, in cut_frac of num_steps, and a long fall to max_rate / ratio.

    Howard and Ruder 2018, arXiv:1801.06146, equation 3, with t = step + 1. From num_steps on the
    rate stays at max_rate / ratio. Raises InputError unless 0 < cut_frac < 1.

    Example:
        >>> rate = slanted_triangular(1.0, 40, ratio=4)
        >>> [round(rate(step), 4) for step in (0, 1, 3, 21, 39, 50)]
        [0.4375, 0.625, 1.0, 0.625, 0.25, 0.25]
    """
    within: Bounds = (lambda x: 0 < x < 1, "a number between 0 and 1")
    require("slanted_triangular", within, cut_frac=cut_frac)
    cut = max(1, int(num_steps * cut_frac))

    def schedule(step: int) -> float:
        t = step + 1
        part = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        return max_rate * (1 + max(0.0, part) * (ratio - 1)) / ratio

    return schedule


def cyclic_triangular(min_lr: float, max_lr: float, period: int) -> Schedule:
    """Up from min_lr to max_lr in `period` steps, down in as many, and so on.

    Smith 2017, arXiv:1506.01186, section 3.1, with t = step + 1: the first rate is above min_lr.
    Raises InputError if the period is not positive.

    Example:
        >>> rate = cyclic_triangular(0.0, 1.0, 2)
        >>> [rate(step) for step in range(6)]
        [0.5, 1.0, 0.5, 0.0, 0.5, 1.0]
    """
    require("cyclic_triangular", (lambda x: x > 0, "a positive number"), period=period)

    def schedule(step: int) -> float:
        place = (step + 1) % (2 * period) / period
        return min_lr + (max_lr - min_lr) * min(place, 2 - place)

    return schedule


def one_cycle(
    max_rate: float,
    total_steps: int,
    *,
    rise: float = 0.3,
    div: float = 25.0,
    final_div: float = 1e4,
) -> Schedule:
    """Half a cosine from max_rate / div up to max_rate, and one down to it / (div * final_div).

    The rise takes the part `rise` of total_steps, the fall the others; then the rate stays where
    it is. Smith and Topin 2018, arXiv:1708.07120, with cosines for lines: PyTorch's OneCycleLR.

    Example:
        >>> rate = one_cycle(1.0, 11, rise=5 / 11, div=10, final_div=10)
        >>> [round(rate(step), 4) for step in (0, 2, 4, 7, 10, 12)]
        [0.1, 0.55, 1.0, 0.505, 0.01, 0.01]
    """
    top, end = rise * total_steps - 1, total_steps - 1

    def schedule(step: int) -> float:
        if step <= top and top > 0:
            return _cosine(max_rate / div, max_rate, step / top)
        done = (step - max(0.0, top)) / max(1.0, end - max(0.0, top))
        return _cosine(max_rate, max_rate / div / final_div, done)

    return schedule


def plateau(
    max_patience: int, scale: float, schedule: float | Schedule, scores: Sequence[float]
) -> Schedule:
    """A schedule, or a number, times `scale` for each time that the scores have stopped rising.

    `scores` is the list to which you append each evaluation's score, higher being better; it is
    read at every step. A plateau is max_patience scores after each other, none of them above the
    best before it; then the count begins anew.

    Example:
        >>> scores: list[float] = []
        >>> rate = plateau(2, 0.5, constant(1.0), scores)
        >>> for score in (0.1, 0.3, 0.2, 0.3, 0.4, 0.4, 0.4):
        ...     scores.append(score)
        ...     print(rate(0))
        1.0
        1.0
        1.0
        0.5
        0.5
        0.5
        0.25
    """
    base = as_schedule("plateau", schedule)

    def rate(step: int) -> float:
        best, patience, plateaus = -math.inf, 0, 0
        for score in scores:
            patience = 0 if score > best else patience + 1
            best = max(best, score)
            if patience == max_patience:
                plateaus, patience = plateaus + 1, 0
        return base(step) * scale**plateaus

    return rate

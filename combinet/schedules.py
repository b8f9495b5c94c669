"""Schedules: rates that change during training, as pure functions of the step, counted from 0.

An optimizer accepts a schedule for each of its rates, and `minibatch` accepts one for the size of
batches.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from combinet.errors import InputError
from combinet.types import Schedule

Bounds = tuple[Callable[[Any], bool], str]

FROM_0: Bounds = (lambda x: 0 <= x < math.inf, "a non-negative number")
BELOW_1: Bounds = (lambda x: 0 <= x < 1, "a number from 0 to below 1")
RATE: Bounds = (lambda x: callable(x) or 0 <= x < math.inf, "a non-negative number or a schedule")


def require(owner: str, bounds: Bounds, **values: Any) -> None:
    """Raises InputError, with the owner's name, if a value is out of bounds or not a number."""
    fits, what = bounds
    for name, value in values.items():
        try:
            fine = bool(fits(value))
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise InputError(f"{owner} expected {what} for {name}, got {value!r:.60}")


def as_schedule(owner: str, schedule: float | Schedule) -> Schedule:
    """Returns a schedule as it is, and a non-negative number as a constant schedule."""
    require(owner, RATE, schedule=schedule)
    return schedule if callable(schedule) else constant(schedule)


def constant(rate: float) -> Schedule:
    """Returns a schedule that stays at `rate`.

    Args:
        rate: The rate at every step.

    Example:
        >>> constant(0.1)(7)
        0.1
    """
    return lambda step: rate


def decaying(base_rate: float, decay: float) -> Schedule:
    """Returns the schedule base_rate / (1 + decay * step).

    Args:
        base_rate: Rate at step 0.
        decay: How fast the rate falls. After 1 / decay steps it is base_rate / 2.

    Example:
        >>> decaying(0.01, 1.0)(1)
        0.005
    """
    return lambda step: base_rate / (1.0 + decay * step)


def compounding(start: float, stop: float, compound: float) -> Schedule:
    """Returns the schedule start * compound ** step, which stays at `stop` once it is reached.

    Args:
        start: Rate at step 0.
        stop: Last rate, above or below `start`.
        compound: Factor between the rates of two steps. Above 1 the rate rises, below 1 it falls.

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
    """Returns a schedule that rises linearly from 0 to a rate, then falls linearly to 0.

    Args:
        initial_rate: Highest rate, reached at warmup_steps.
        warmup_steps: Number of steps of the rise.
        total_steps: Step at which the rate is 0 again. It stays 0 afterwards.

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
    """Returns a schedule that keeps a rate for some steps, then follows another schedule.

    Args:
        rate: Rate of the first steps.
        steps: Number of steps with this rate.
        schedule: The schedule that follows, which starts at its step 0, or a number.

    Raises:
        InputError: If schedule is neither callable nor a non-negative number.

    Example:
        >>> rate = constant_then(1.0, 2, decaying(1.0, 1.0))
        >>> [rate(step) for step in range(4)]
        [1.0, 1.0, 1.0, 0.5]
    """
    after = as_schedule("constant_then", schedule)
    return lambda step: rate if step < steps else after(step - steps)


def cosine(initial_rate: float, total_steps: int, *, final_rate: float = 0.0) -> Schedule:
    """Returns a schedule that falls along half a cosine, then stays at its last rate.

    Args:
        initial_rate: Rate at step 0.
        total_steps: Step at which the rate reaches final_rate.
        final_rate: Last rate.

    Example:
        >>> rate = cosine(1.0, 4)
        >>> [round(rate(step), 4) for step in (0, 1, 2, 3, 4, 5)]
        [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5, without restarts.
    """
    return lambda step: _cosine(initial_rate, final_rate, step / max(1, total_steps))


def _cosine(start: float, stop: float, done: float) -> float:
    """Returns the value on a half cosine from start to stop, at `done` from 0 to 1."""
    return stop + (start - stop) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def slanted_triangular(
    max_rate: float, num_steps: int, *, cut_frac: float = 0.1, ratio: float = 32
) -> Schedule:
    """Returns a schedule with a short linear rise and a long linear fall.

    Args:
        max_rate: Highest rate.
        num_steps: Number of steps of rise and fall. Afterwards the rate stays at max_rate / ratio.
        cut_frac: Fraction of num_steps that the rise takes, between 0 and 1.
        ratio: Highest rate divided by the lowest.

    Raises:
        InputError: If cut_frac is not between 0 and 1.

    Example:
        >>> rate = slanted_triangular(1.0, 40, ratio=4)
        >>> [round(rate(step), 4) for step in (0, 1, 3, 21, 39, 50)]
        [0.4375, 0.625, 1.0, 0.625, 0.25, 0.25]

    Source: Howard and Ruder 2018, arXiv:1801.06146, equation 3, with t = step + 1.
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
    """Returns a schedule that rises and falls linearly between two rates, again and again.

    Args:
        min_lr: Lowest rate. Step 0 is one step above it.
        max_lr: Highest rate.
        period: Number of steps of each rise and of each fall.

    Raises:
        InputError: If period is not positive.

    Example:
        >>> rate = cyclic_triangular(0.0, 1.0, 2)
        >>> [rate(step) for step in range(6)]
        [0.5, 1.0, 0.5, 0.0, 0.5, 1.0]

    Source: Smith 2017, arXiv:1506.01186, section 3.1, with t = step + 1.
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
    """Returns a schedule that rises along half a cosine, then falls along another one.

    It computes the same as PyTorch's OneCycleLR.

    Args:
        max_rate: Highest rate.
        total_steps: Number of steps of rise and fall. Afterwards the rate stays at its last value.
        rise: Fraction of total_steps that the rise takes, from 0 to 1.
        div: Highest rate divided by the first.
        final_div: First rate divided by the last.

    Example:
        >>> rate = one_cycle(1.0, 11, rise=5 / 11, div=10, final_div=10)
        >>> [round(rate(step), 4) for step in (0, 2, 4, 7, 10, 12)]
        [0.1, 0.55, 1.0, 0.505, 0.01, 0.01]

    Source: Smith and Topin 2018, arXiv:1708.07120, with cosines instead of lines.
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
    """Returns a schedule that is multiplied by `scale` at each plateau of the scores.

    A plateau is a run of max_patience scores, none of them above the best score before. After each
    plateau the count starts again from 0.

    Args:
        max_patience: Number of scores without a new best that make a plateau.
        scale: Factor of the rate at each plateau.
        schedule: The schedule that is multiplied, or a number.
        scores: List to which you append the score of each evaluation, higher is better. The
            schedule reads it at every step.

    Raises:
        InputError: If schedule is neither callable nor a non-negative number.

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

"""Schedules, compared with their formulas, including edge cases."""

import math

import numpy as np
import pytest

import combinet as cb

STEPS = [0, 1, 2, 7, 100, 12345]


@pytest.mark.parametrize("step", STEPS)
def test_constant_returns_its_value(step: int) -> None:
    assert cb.constant(0.3)(step) == 0.3


@pytest.mark.parametrize("step", STEPS)
def test_decaying_follows_its_formula(step: int) -> None:
    expected = 0.01 / (1 + 1e-4 * step)
    assert cb.decaying(0.01, 1e-4)(step) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("step", STEPS)
def test_decaying_by_zero_is_constant(step: int) -> None:
    assert cb.decaying(0.01, 0.0)(step) == 0.01


@pytest.mark.parametrize("step", STEPS)
def test_compounding_rises_to_stop(step: int) -> None:
    expected = min(4.0 * math.exp(step * math.log(1.001)), 32.0)
    assert cb.compounding(4.0, 32.0, 1.001)(step) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("step", STEPS)
def test_compounding_falls_to_stop(step: int) -> None:
    expected = max(0.1 * math.exp(step * math.log(0.99)), 0.001)
    assert cb.compounding(0.1, 0.001, 0.99)(step) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("compound", [0.5, 1.0, 1.001])
def test_compounding_that_starts_at_stop_stays_there(compound: float) -> None:
    assert [cb.compounding(8.0, 8.0, compound)(step) for step in STEPS] == [8.0] * len(STEPS)


@pytest.mark.parametrize(("start", "stop", "compound"), [(1.0, 32.0, 2.0), (1, 32, 2)])
def test_compounding_does_not_overflow(start: float, stop: float, compound: float) -> None:
    assert cb.compounding(start, stop, compound)(100_000) == 32.0


def test_compounding_does_not_underflow() -> None:
    assert cb.compounding(1.0, 0.25, 0.5)(100_000) == 0.25


def test_compounding_returns_floats_for_ints() -> None:
    assert [type(cb.compounding(1, 4, 2)(step)) for step in (0, 1, 9)] == [float] * 3


@pytest.mark.parametrize("step", [*range(12), 100])
def test_warmup_linear_rises_and_falls_linearly(step: int) -> None:
    expected = np.interp(step, [0, 4, 10], [0.0, 0.2, 0.0])
    assert cb.warmup_linear(0.2, 4, 10)(step) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("step", [*range(12), 100])
def test_warmup_linear_of_zero_steps_starts_at_the_top(step: int) -> None:
    expected = np.interp(step, [0, 10], [0.2, 0.0])
    assert cb.warmup_linear(0.2, 0, 10)(step) == pytest.approx(expected, rel=1e-14)


def test_warmup_linear_may_last_for_all_steps() -> None:
    rate = cb.warmup_linear(0.2, 4, 4)
    assert [rate(step) for step in (0, 1, 3, 4, 5)] == pytest.approx([0.0, 0.05, 0.15, 0.0, 0.0])


def test_warmup_linear_of_zero_total_steps_is_0() -> None:
    assert cb.warmup_linear(0.2, 0, 0)(0) == 0.0


@pytest.mark.parametrize("total", [4, 5, 50])
def test_warmup_linear_stays_within_its_bounds(total: int) -> None:
    rates = [cb.warmup_linear(0.2, 4, total)(step) for step in range(2 * total)]
    assert all(0.0 <= rate <= 0.2 for rate in rates)


def test_optimizer_calls_the_schedule_with_its_step() -> None:
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.1

    model, sgd = cb.Linear(1, 1).initialize(), cb.SGD(rate)
    for _ in range(3):
        _, backprop = model.begin_update(np.ones((1, 1), "f"))
        backprop(np.ones((1, 1), "f"), sgd)
    assert asked == [0, 1, 2]

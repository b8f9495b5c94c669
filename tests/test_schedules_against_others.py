"""Schedules, compared with Thinc, PyTorch and their formulas."""

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.errors import raises

N = 60


def rates(schedule: Any, n: int = N) -> list[float]:
    return [schedule(step) for step in range(n)]


def torch_rates(name: str, rate: float, n: int = N, **options: Any) -> list[float]:
    """The rates of n steps of a torch.optim scheduler."""
    torch = pytest.importorskip("torch")
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = getattr(torch.optim.lr_scheduler, name)(sgd, **options)
    found = []
    for step in range(n):
        found.append(float(sgd.param_groups[0]["lr"]))
        sgd.step()
        if step < n - 1:
            scheduler.step()
    return found


def test_constant_then_continues_with_the_schedule() -> None:
    found = rates(cb.constant_then(0.3, 7, cb.decaying(0.1, 0.5)))
    assert found == [0.3] * 7 + [0.1 / (1 + 0.5 * step) for step in range(N - 7)]


THINC = {
    "constant_then": (
        cb.constant_then(0.3, 7, cb.decaying(0.1, 0.5)),
        lambda thinc: thinc.constant_then(0.3, 7, thinc.decaying(0.1, 0.5)),
        N,
    ),
    "cyclic_triangular": (
        cb.cyclic_triangular(0.1, 0.7, 7),
        lambda thinc: thinc.cyclic_triangular(0.1, 0.7, 7),
        N,
    ),
    "slanted_triangular": (
        cb.slanted_triangular(0.1, 50),
        lambda thinc: thinc.slanted_triangular(0.1, 50),
        50,  # after that, Thinc's rate becomes negative
    ),
    "slanted_triangular-options": (
        cb.slanted_triangular(0.1, 40, cut_frac=0.25, ratio=10),
        lambda thinc: thinc.slanted_triangular(0.1, 40, cut_frac=0.25, ratio=10),
        40,
    ),
    "warmup_linear": (
        cb.warmup_linear(0.1, 7, 50),
        lambda thinc: thinc.warmup_linear(0.1, 7, 50),
        N,
    ),
}


@pytest.mark.parametrize("name", THINC)
def test_rates_match_thinc(name: str) -> None:
    thinc = pytest.importorskip("thinc.api")
    ours, theirs, n = THINC[name]
    expected = [float(rate) for rate in islice(theirs(thinc), n)]
    np.testing.assert_allclose(rates(ours, n), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("final", [0.0, 0.01])
def test_cosine_matches_pytorch(final: float) -> None:
    found = rates(cb.cosine(0.1, 40, final_rate=final), 41)
    expected = torch_rates("CosineAnnealingLR", 0.1, 41, T_max=40, eta_min=final)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_cosine_stays_at_its_final_rate() -> None:
    assert rates(cb.cosine(0.1, 5, final_rate=0.02), 10)[5:] == pytest.approx([0.02] * 5)
    assert cb.cosine(0.1, 0, final_rate=0.02)(1) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"rise": 0.5, "div": 4.0, "final_div": 10.0},
         {"pct_start": 0.5, "div_factor": 4.0, "final_div_factor": 10.0}),
        ({"rise": 0.33}, {"pct_start": 0.33}),
    ],
)  # fmt: skip
def test_one_cycle_matches_pytorch(ours: Any, theirs: Any) -> None:
    found = rates(cb.one_cycle(0.1, 50, **ours), 50)
    expected = torch_rates("OneCycleLR", 0.1, 50, max_lr=0.1, total_steps=50, **theirs)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_one_cycle_stays_at_its_final_rate() -> None:
    found = rates(cb.one_cycle(0.1, 20), 30)
    assert found[19:] == pytest.approx([0.1 / 25 / 1e4] * 11)
    assert all(0 < rate <= 0.1 for rate in found)


@pytest.mark.parametrize("total", [0, 1, 2, 3])
def test_one_cycle_of_few_steps_stays_within_its_bounds(total: int) -> None:
    assert all(0 < rate <= 0.1 for rate in rates(cb.one_cycle(0.1, total), 6))


def test_slanted_triangular_follows_its_equation() -> None:
    """Howard and Ruder 2018, equation 3."""
    T, cut_frac, ratio, top = 50, 0.1, 32, 0.01
    cut = math.floor(T * cut_frac)
    expected = []
    for t in range(1, T + 1):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        expected.append(top * (1 + p * (ratio - 1)) / ratio)
    found = rates(cb.slanted_triangular(top, T), 80)
    np.testing.assert_allclose(found[:T], expected, rtol=1e-12)
    assert max(found) == found[cut - 1] == top
    assert found[T:] == pytest.approx([top / ratio] * 30)


def test_slanted_triangular_of_few_steps_stays_within_its_bounds() -> None:
    found = rates(cb.slanted_triangular(0.1, 5), 20)
    assert found[0] == 0.1
    assert all(0 < rate <= 0.1 for rate in found)


@pytest.mark.parametrize("step", [0, 1, 6, 7, 13, 14, 100, 12345])
def test_cyclic_triangular_rises_and_falls_linearly(step: int) -> None:
    expected = np.interp((step + 1) % 14, [0, 7, 14], [0.1, 0.7, 0.1])
    assert cb.cyclic_triangular(0.1, 0.7, 7)(step) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_plateau_matches_pytorch(patience: int, seed: int) -> None:
    """PyTorch's patience is one less: it is the number of bad scores that it tolerates."""
    torch = pytest.importorskip("torch")
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        sgd, mode="max", factor=0.5, patience=patience - 1, threshold=0.0, min_lr=0.0, eps=0.0
    )
    scores: list[float] = []
    ours = cb.plateau(patience, 0.5, cb.constant(0.1), scores)
    for score in np.random.default_rng(seed).integers(0, 20, 40).tolist():
        scores.append(score)
        theirs.step(score)
        assert ours(len(scores)) == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-12)
    assert ours(0) < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cb.slanted_triangular(0.1, 50, cut_frac=0), "cut_frac ... 0"),
        (lambda: cb.slanted_triangular(0.1, 50, cut_frac=1), "cut_frac ... 1"),
        (lambda: cb.cyclic_triangular(0.1, 0.7, 0), "period ... 0"),
        (lambda: cb.plateau(2, 0.5, iter([0.1]), []), "list_iterator"),
        (lambda: cb.constant_then(0.1, 5, "0.1"), "schedule ... '0.1'"),
    ],
)
def test_invalid_schedules_fail(make: Any, message: str) -> None:
    with raises(cb.InputError, message):
        make()


def test_plateau_scales_another_schedule() -> None:
    rate = cb.plateau(2, 0.1, cb.decaying(1.0, 1.0), [0.5, 0.4, 0.5])
    assert [rate(step) for step in range(3)] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert cb.plateau(2, 0.1, cb.constant(1.0), [])(7) == 1.0


def test_number_works_as_a_schedule() -> None:
    assert cb.plateau(1, 0.5, 0.1, [0.2, 0.1])(7) == 0.05
    assert rates(cb.constant_then(0.1, 2, 0.3), 4) == [0.1, 0.1, 0.3, 0.3]

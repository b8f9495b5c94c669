"""Reports of check_layer: every invariant has a line, with the numbers or the reason."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.testing import CheckError, check_layer, check_predict, check_pure
from combinet.testing.invariants import INVARIANTS
from combinet.testing.numbers import compare
from helpers.arrays import floats
from helpers.errors import raises


def _half_in_prediction(model: Any, X: Any, run: Any) -> Any:
    factor = 1.0 if run.train else 0.5
    return X * factor, lambda dY: dY * factor


def test_report_has_a_line_for_each_invariant() -> None:
    report = check_layer(cb.Linear(2), floats(4, 3))
    assert [result.name for result in report.results] == [each.__name__ for each in INVARIANTS]
    assert {result.outcome for result in report.results} == {"passed"}
    assert str(report).splitlines()[0] == "linear: 7 passed"
    # The input has 4 * 3 numbers, W has 2 * 3 and b has 2.
    assert report.results[0].details.startswith("20 numbers, ")


def test_invariants_after_a_failed_one_still_run() -> None:
    model: Any = cb.Model("half", _half_in_prediction)
    with pytest.raises(CheckError) as caught:
        check_layer(model, floats(4, 3))
    report = caught.value.report
    failed = {result.name for result in report.results if result.outcome == "failed"}
    assert failed == {"check_predict"}
    assert str(caught.value) == str(report)
    assert str(report).splitlines()[0] == "half: 1 failed, 6 passed"


def test_any_exception_of_an_invariant_is_reported() -> None:
    def changes_its_input(model: Any, X: Any, run: Any) -> Any:
        X += 1
        return X, lambda dY: dY

    with raises(CheckError, "check_pure", "ValueError", "read-only"):
        check_layer(cb.Model("wrong", changes_its_input), floats(4, 3))


def test_reasons_for_skipping_are_reported() -> None:
    model: Any = cb.Model("half", _half_in_prediction)
    report = check_layer(model, floats(4, 3), skip={check_predict: "by design"})
    assert [(r.name, r.details) for r in report.results if r.outcome == "skipped"] == [
        ("check_predict", "by design")
    ]


def test_skip_accepts_only_invariants() -> None:
    wrong: Any = [check_layer]
    with raises(cb.InputError, "skip", "check_layer", check_pure.__name__):
        check_layer(cb.noop(), floats(4, 3), skip=wrong)


def test_compare_measures_the_largest_difference() -> None:
    finding = compare("Y", np.array([1.0, 2.0 + 1e-10]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(finding.difference, 1e-10, rtol=1e-5)
    np.testing.assert_allclose(finding.tolerance, 1e-12 + 2e-9, rtol=1e-12)
    assert (finding.what, finding.numbers) == ("Y at (1,)", 2)


@pytest.mark.parametrize("wrong", [3.0, np.nan, np.inf])
def test_compare_fails_and_names_the_place(wrong: float) -> None:
    with raises(AssertionError, "Y at (1,)"):
        compare("Y", np.array([1.0, wrong]), np.array([1.0, 2.0]))


def test_compare_accepts_equal_infinities_and_nans() -> None:
    X = np.array([np.inf, np.nan, -np.inf])
    assert compare("Y", X, X.copy()).difference == 0

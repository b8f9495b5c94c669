"""Estimators: scikit-learn's own checks, and what they don't ask."""

from typing import Any

import pytest

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import parametrize_with_checks

from combinet.interop.sklearn import CombinetClassifier, CombinetRegressor


@parametrize_with_checks([CombinetClassifier(), CombinetRegressor()])
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)

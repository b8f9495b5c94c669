"""Models that guess numbers, as regressors of scikit-learn."""

from __future__ import annotations

from typing import Any

from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import validation
from typing_extensions import Self

from combinet import L2Distance, Linear
from combinet.interop.sklearn.estimator import FLOATS, Estimator
from combinet.types import Array, Floats


class CombinetRegressor(MultiOutputMixin, RegressorMixin, Estimator):  # type: ignore[misc]
    """A regressor: a model with columns of numbers as output, trained on half the squared error.

    Arguments and attributes are those of `CombinetClassifier`, without `classes_`. Without `build`
    there is one hidden layer: Relu(128) >> Dropout() >> Linear(). y is (n,), or (n, k) for k
    numbers at once. It is taken as it is: where its scale is far from 1, let scikit-learn's
    TransformedTargetRegressor change it.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> regressor = CombinetRegressor(random_state=0).fit(X, X[:, 0] * 3)
        >>> regressor.predict([[1.0, 0.0]]).round(1)
        array([3.])
    """

    _loss = L2Distance()
    _output = staticmethod(Linear)
    _y_checks = {"multi_output": True, "y_numeric": True}  # noqa: RUF012

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train the model for one more epoch, on X and y alone; returns the regressor."""
        return self._fit(X, y, 1, new=not hasattr(self, "model_"))

    def predict(self, X: Any) -> Floats:
        """What the model gives, in the form of the y that it was fitted to: (n,) or (n, k)."""
        Y = self._outputs(X)
        return Y[:, 0] if self._flat else Y

    def _encode(self, y: Any, *, new: bool, classes: Any) -> Array:
        y = validation.check_array(y, ensure_2d=False, dtype=FLOATS)
        if new:
            self._flat = y.ndim == 1
        return y.reshape(len(y), -1)  # type: ignore[no-any-return]

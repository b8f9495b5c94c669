"""Regressors of scikit-learn."""

from typing import Any

from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import validation
from typing_extensions import Self

from combinet import L2Distance, Linear
from combinet.interop.sklearn.estimator import FLOATS, Estimator
from combinet.types import Array, Floats


class CombinetRegressor(MultiOutputMixin, RegressorMixin, Estimator):  # type: ignore[misc]
    """A regressor of scikit-learn: a model trained on half the squared error.

    The targets y are (n,), or (n, k) for k numbers per row. They are not scaled. If their scale is
    far from 1, wrap the regressor in scikit-learn's TransformedTargetRegressor.

    The weights are float32 if X is float32 and float64 otherwise. With `validate=False` they are
    float32. A model that `build` returns with initialized weights keeps their dtype. A pickle
    contains the weights as written by `Model.to_bytes`, and `build` by reference, so `build` cannot
    be a lambda if the estimator is pickled.

    Args:
        build: A function without arguments that returns the model. Unknown sizes, such as the
            number of columns of y, are inferred from the data. Every fit calls it, and so does
            unpickling. None makes a model with one hidden layer: Relu(128) >> Dropout() >>
            Linear().
        epochs: Number of passes over the data in `fit`.
        batch_size: Number of samples per batch, or a schedule.
        learn_rate: Learning rate, or a schedule, that the optimizer receives.
        drop: Dropout rate in training, from 0 to below 1.
        optimizer: A function that takes the learning rate and returns an `Optimizer`, such as the
            class `SGD`. None uses Adam without averages.
        validate: Whether X is a table that scikit-learn checks. If False, the model receives X in
            batches as it is; X may then be a list of arrays or anything else that the model
            accepts. A data frame or one of its columns becomes an array.
        random_state: Seed of the initial weights, the order of the samples and dropout: an int, a
            NumPy RandomState or None.

    Attributes:
        model_: The fitted model.
        optimizer_: The optimizer.
        loss_curve_: The mean loss of each epoch.

    Raises:
        ValueError: In `fit` and `predict`, if scikit-learn rejects the data.
        InputError: In `fit`, if `build` does not return a model or a setting is invalid.

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
        """Trains the model for one more epoch on X and y and returns the regressor.

        Args:
            X: The input, as in `fit`.
            y: The targets, (n,) or (n, k) as in the first call.
        """
        return self._fit(X, y, 1, new=not hasattr(self, "model_"))

    def predict(self, X: Any) -> Floats:
        """Returns the predicted targets, (n,) or (n, k) like the y of the fit.

        Args:
            X: The input, as in `fit`.
        """
        Y = self._outputs(X)
        return Y[:, 0] if self._flat else Y

    def _encode(self, y: Any, *, new: bool, classes: Any) -> Array:
        y = validation.check_array(y, ensure_2d=False, dtype=FLOATS)
        if new:
            self._flat = y.ndim == 1
        return y.reshape(len(y), -1)  # type: ignore[no-any-return]

"""Classifiers of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import multiclass, validation
from typing_extensions import Self

from combinet import CategoricalCrossentropy, Softmax, to_categorical
from combinet.interop.sklearn.estimator import Estimator
from combinet.types import Array, Floats2d, Ints1d


class CombinetClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A classifier of scikit-learn: a model that ends in a softmax, trained on the cross-entropy.

    The weights are float32 if X is float32 and float64 otherwise. With `validate=False` they are
    float32. A model that `build` returns with initialized weights keeps their dtype. A pickle
    contains the weights as written by `Model.to_bytes`, and `build` by reference, so `build` cannot
    be a lambda if the estimator is pickled.

    Args:
        build: A function without arguments that returns the model. Unknown sizes, such as the
            number of classes, are inferred from the data. Every fit calls it, and so does
            unpickling. None makes a model with one hidden layer: Relu(128) >> Dropout() >>
            Softmax().
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
        classes_: The labels, in the order of the model's output columns.

    Raises:
        ValueError: In `fit` and `predict`, if scikit-learn rejects the data.
        InputError: In `fit`, if `build` does not return a model or a setting is invalid.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> y = np.where(X[:, 0] > 0, "right", "left")
        >>> classifier = CombinetClassifier(epochs=20, learn_rate=0.01, random_state=0)
        >>> classifier.fit(X, y).predict([[2.0, 0.0], [-2.0, 0.0]])
        array(['right', 'left'], dtype='<U5')
    """

    classes_: Array
    _loss = CategoricalCrossentropy()
    _output = staticmethod(Softmax)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Trains the model for one more epoch on X and y and returns the classifier.

        Args:
            X: The input, as in `fit`.
            y: The labels (n,).
            classes: All labels that will occur. Required in the first call, unless the classifier
                is fitted already.

        Raises:
            ValueError: If `classes` is missing in the first call or differs in a later one, or if y
                contains another label.
        """
        return self._fit(X, y, 1, new=not hasattr(self, "model_"), classes=classes)

    def predict_proba(self, X: Any) -> Floats2d:
        """Returns the probability of each class, (n, classes), in the order of `classes_`.

        Args:
            X: The input, as in `fit`.
        """
        return self._outputs(X)

    def predict(self, X: Any) -> Array:
        """Returns the most probable label of each row, (n,).

        Args:
            X: The input, as in `fit`.
        """
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]  # type: ignore[no-any-return]

    def _encode(self, y: Any, *, new: bool, classes: Any) -> Ints1d:
        """Returns the column of each label in `classes_`."""
        y = validation.column_or_1d(y, warn=True)
        multiclass.check_classification_targets(y)
        if new and classes is None:
            raise ValueError("expected classes in the first call of partial_fit, got None")
        classes = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if not new and not np.array_equal(classes, self.classes_):
            raise ValueError(f"expected the classes {self.classes_} as before, got {classes}")
        if len(unknown := np.setdiff1d(y, classes)):
            raise ValueError(f"expected labels of the classes {classes}, got {unknown}")
        self.classes_ = classes
        return np.searchsorted(classes, y)  # type: ignore[no-any-return]

    def _start(self, X: Any, Y: Array) -> None:
        super()._start(X, to_categorical([0], len(self.classes_)))

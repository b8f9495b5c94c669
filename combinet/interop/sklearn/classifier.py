"""Models that tell classes apart, as classifiers of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import multiclass, validation
from typing_extensions import Self

from combinet import CategoricalCrossentropy, Softmax, to_categorical
from combinet.interop.sklearn.estimator import Estimator
from combinet.types import Array, Floats2d, Ints1d


class CombinetClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A classifier: a model that ends in a softmax, trained on the cross-entropy.

    `build` is a function without arguments that returns the model; sizes that it leaves out, such
    as the number of classes, are inferred from the data. Every fit calls it, and so does loading,
    since a pickle holds the model's weights by `Model.to_bytes`, and of `build` the name. Without
    it there is one hidden layer: Relu(128) >> Dropout() >> Softmax().

    `epochs`, `batch_size` (a number or a schedule), `learn_rate` (likewise) and `drop`, the rate of
    dropout, say how it is trained: by `optimizer`, a function that is called with the rate,
    such as a class; without it, by Adam. `random_state` is for weights, order and dropout. When it
    is fitted, `model_` is the model, `classes_` are the labels by column, and `loss_curve_` is the
    mean loss of each epoch.

    X is a table, checked as scikit-learn does; weights are float32 if it is, else float64, unless
    the model comes with some. With `validate=False` X is what the model takes, such as a list of
    arrays, and comes to it in batches as it is, but a column of a data frame as an array. Raises
    ValueError for data that scikit-learn refuses, and InputError for settings that make no sense.

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
        """Train the model for one more epoch, on X and y alone; returns the classifier.

        The first call needs `classes`, all the labels that there will be, unless there was a fit.
        """
        return self._fit(X, y, 1, new=not hasattr(self, "model_"), classes=classes)

    def predict_proba(self, X: Any) -> Floats2d:
        """What the model gives: for each row the probabilities of `classes_`, (n, classes)."""
        return self._outputs(X)

    def predict(self, X: Any) -> Array:
        """The most probable label of each row, (n,)."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]  # type: ignore[no-any-return]

    def _encode(self, y: Any, *, new: bool, classes: Any) -> Ints1d:
        """The column of each label in `classes_`."""
        y = validation.column_or_1d(y, warn=True)
        multiclass.check_classification_targets(y)
        if new and classes is None:
            raise ValueError("the first call of partial_fit needs all classes: classes=...")
        classes = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if not new and not np.array_equal(classes, self.classes_):
            raise ValueError(f"the classes are {self.classes_}, and cannot become {classes}")
        if len(unknown := np.setdiff1d(y, classes)):
            raise ValueError(f"the classes are {classes}, without {unknown}")
        self.classes_ = classes
        return np.searchsorted(classes, y)  # type: ignore[no-any-return]

    def _start(self, X: Any, Y: Array) -> None:
        super()._start(X, to_categorical([0], len(self.classes_)))

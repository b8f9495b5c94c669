"""Models as estimators of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from combinet import (
    Adam,
    CategoricalCrossentropy,
    Dropout,
    InputError,
    L2Distance,
    Linear,
    Model,
    Optimizer,
    Relu,
    Softmax,
    minibatch,
    to_categorical,
)
from combinet.errors import describe
from combinet.interop.extras import load
from combinet.losses import Loss
from combinet.types import Array, Floats, Floats2d, Schedule
from combinet.widths import is_size

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from typing_extensions import Self
else:
    _base = load("sklearn.base", "sklearn")
    BaseEstimator, ClassifierMixin = _base.BaseEstimator, _base.ClassifierMixin
    RegressorMixin = _base.RegressorMixin

multiclass: Any = load("sklearn.utils.multiclass", "sklearn")
validation: Any = load("sklearn.utils.validation", "sklearn")

_HIDDEN = 128  # units of the network that there is without `build`


_FLOATS = ["float64", "float32"]  # dtypes of tables that stay; others become the first one


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: epochs of batches, and saving."""

    _loss: Loss
    _targets: dict[str, bool]  # how scikit-learn is to check y

    def __init__(
        self,
        build: Callable[[], Model[Any, Any]] | None = None,
        *,
        epochs: int = 100,
        batch_size: int | Schedule = 32,
        learn_rate: float | Schedule = 0.001,
        drop: float = 0.0,
        optimizer: Callable[[Any], Optimizer] | None = None,
        validate: bool = True,
        random_state: Any = None,
    ) -> None:
        self.build = build
        self.epochs = epochs
        self.batch_size = batch_size
        self.learn_rate = learn_rate
        self.drop = drop
        self.optimizer = optimizer
        self.validate = validate
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.validate
        return tags

    def _default(self) -> Model[Any, Any]:
        """The network that there is without `build`."""
        raise NotImplementedError

    def _compose(self) -> Model[Any, Any]:
        if self.build is None:
            return self._default()
        model = self.build()
        if not isinstance(model, Model):
            raise InputError(f"build is a function that returns a model, not {describe(model)}")
        return model.copy()  # every fit begins from its weights, if it has any

    def _new_optimizer(self) -> Optimizer:
        if self.optimizer is None:
            return Adam(self.learn_rate, use_averages=False)
        return self.optimizer(self.learn_rate)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        if self.validate:
            return validation.validate_data(  # type: ignore[no-any-return]
                self, X, y, reset=reset, dtype=_FLOATS, **self._targets
            )
        validation.check_consistent_length(X, y)
        return X, y

    def _start(self, X: Any, Y: Floats2d) -> None:
        """A model with its first weights, and what trains it. Y is a sample of the output."""
        seed = validation.check_random_state(self.random_state).randint(2**31)
        self._rng = np.random.default_rng(seed)
        model = self._compose()
        given = (slot.store.dtype for slot in model.slots_by_path().values())
        self._dtype = np.dtype(next(given, X.dtype if self.validate else "float32"))
        sample = next(minibatch(self.batch_size, self._cast(X)))
        self.model_ = model.initialize(sample, Y, rng=self._rng, dtype=self._dtype)
        self.optimizer_ = self._new_optimizer()
        self.loss_curve_: list[float] = []

    def _train(self, X: Any, Y: Array, epochs: int) -> Self:
        if not is_size(epochs):
            raise InputError(f"epochs is an int from 1, not {epochs!r}")
        X = self._cast(X)
        for _ in range(epochs):
            total = 0.0
            for rows, truths in minibatch(self.batch_size, X, Y, rng=self._rng):
                guesses, backprop = self.model_.begin_update(
                    rows, self.drop, rng=self._rng, wants_dX=False
                )
                gradient, value = self._loss(guesses, truths)
                backprop(gradient, self.optimizer_)
                total += float(value) * len(truths)
            self.loss_curve_.append(total / len(Y))
        return self

    def _outputs(self, X: Any) -> Floats2d:
        """What the model gives, batch after batch."""
        validation.check_is_fitted(self)
        if self.validate:
            X = validation.validate_data(self, X, reset=False, dtype=_FLOATS)
        batches = minibatch(self.batch_size, self._cast(X))
        return np.concatenate([self.model_.predict(batch) for batch in batches])

    def _cast(self, X: Any) -> Any:
        return X.astype(self._dtype, copy=False) if self.validate else X

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = self.model_.to_bytes()
            state["optimizer_"] = self.optimizer_.to_bytes(self.model_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = self._compose().from_bytes(state["model_"])
            self.optimizer_ = self._new_optimizer().from_bytes(state["optimizer_"], self.model_)


class CombinetClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
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
    the model comes with some. With `validate=False` X is what the model takes, with a
    length and slices, such as a list of arrays, and arrives in batches as it is.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> y = np.where(X[:, 0] > 0, "right", "left")
        >>> classifier = CombinetClassifier(epochs=20, learn_rate=0.01, random_state=0)
        >>> classifier.fit(X, y).predict([[2.0, 0.0], [-2.0, 0.0]])
        array(['right', 'left'], dtype='<U5')
    """

    _loss = CategoricalCrossentropy()
    _targets: dict[str, bool] = {}  # noqa: RUF012

    def _default(self) -> Model[Any, Any]:
        return Relu(_HIDDEN) >> Dropout() >> Softmax()

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new model on X and labels y (n,); returns the classifier."""
        X, y = self._labelled(X, y, reset=True)
        self._begin(X, np.unique(y))
        return self._train(X, self._numbers(y), self.epochs)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train the model for one more epoch, on X and y alone; returns the classifier.

        The first call needs `classes`, all the labels that there will be, unless there was a fit.
        """
        first = not hasattr(self, "model_")
        X, y = self._labelled(X, y, reset=first)
        if classes is not None:
            classes = np.unique(classes)
        if first:
            if classes is None:
                raise ValueError("the first call of partial_fit needs all classes: classes=...")
            self._begin(X, classes)
        elif classes is not None and not np.array_equal(classes, self.classes_):
            raise ValueError(f"the classes are {self.classes_}, and cannot become {classes}")
        return self._train(X, self._numbers(y), 1)

    def predict_proba(self, X: Any) -> Floats2d:
        """What the model gives: for each row the probabilities of `classes_`, (n, classes)."""
        return self._outputs(X)

    def predict(self, X: Any) -> Array:
        """The most probable label of each row, (n,)."""
        best = self._outputs(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels

    def _labelled(self, X: Any, y: Any, reset: bool) -> tuple[Any, Array]:
        X, y = self._checked(X, y, reset)
        y = validation.column_or_1d(y, warn=True)
        multiclass.check_classification_targets(y)
        return X, y

    def _begin(self, X: Any, classes: Array) -> None:
        self.classes_ = classes
        self._start(X, to_categorical([0], len(classes)))

    def _numbers(self, y: Array) -> Array:
        """The labels as columns."""
        numbers = np.searchsorted(self.classes_, y)
        known = self.classes_[np.minimum(numbers, len(self.classes_) - 1)] == y
        if not known.all():
            raise ValueError(f"the classes are {self.classes_}, without {np.unique(y[~known])}")
        return numbers


class CombinetRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
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
    _targets: dict[str, bool] = {"multi_output": True, "y_numeric": True}  # noqa: RUF012

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _default(self) -> Model[Any, Any]:
        return Relu(_HIDDEN) >> Dropout() >> Linear()

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new model on X and numbers y, (n,) or (n, k); returns the regressor."""
        X, Y = self._numbered(X, y, reset=True)
        self._start(X, Y)
        return self._train(X, Y, self.epochs)

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train the model for one more epoch, on X and y alone; returns the regressor."""
        first = not hasattr(self, "model_")
        X, Y = self._numbered(X, y, reset=first)
        if first:
            self._start(X, Y)
        return self._train(X, Y, 1)

    def predict(self, X: Any) -> Floats:
        """What the model gives, in the form of the y that it was fitted to: (n,) or (n, k)."""
        Y = self._outputs(X)
        return Y[:, 0] if self._flat else Y

    def _numbered(self, X: Any, y: Any, reset: bool) -> tuple[Any, Floats2d]:
        X, y = self._checked(X, y, reset)
        y = validation.check_array(y, ensure_2d=False, dtype=_FLOATS)
        if reset:
            self._flat = y.ndim == 1
        return X, y.reshape(len(y), -1)

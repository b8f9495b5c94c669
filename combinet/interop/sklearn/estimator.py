"""The base class of the estimators: builds a model, trains it in epochs, and pickles it."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import validation
from typing_extensions import Self

from combinet import Adam, Dropout, InputError, Model, Optimizer, Relu, minibatch
from combinet.errors import describe
from combinet.losses.base import Loss
from combinet.types import Array, Floats2d, Schedule, is_size

FLOATS: Any = ["float64", "float32"]  # tables of other dtypes are converted to the first one


@dataclass(eq=False, repr=False)
class Estimator(BaseEstimator):  # type: ignore[misc]
    """The settings, the training loop and the pickling that classifier and regressor share."""

    build: Callable[[], Model[Any, Any]] | None = None
    _: KW_ONLY
    epochs: int = 100
    batch_size: int | Schedule = 32
    learn_rate: float | Schedule = 0.001
    drop: float = 0.0
    optimizer: Callable[[Any], Optimizer] | None = None
    validate: bool = True
    random_state: Any = None

    _loss: ClassVar[Loss]
    _output: ClassVar[Any]  # makes the last layer if `build` is None
    _y_checks: ClassVar[dict[str, bool]] = {}  # options of scikit-learn's validation of y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.validate
        return tags

    def _encode(self, y: Any, *, new: bool, classes: Any) -> Array:
        """Checks y and converts it to the form that the loss expects."""
        raise NotImplementedError

    def _compose(self) -> Model[Any, Any]:
        if self.build is None:
            return Relu(128) >> Dropout() >> self._output()  # type: ignore[no-any-return]
        model = self.build()
        if not isinstance(model, Model):
            raise InputError(f"expected build to return a model, got {describe(model)}")
        return model.copy()  # so that every fit starts from the same weights

    def _new_optimizer(self) -> Optimizer:
        make = self.optimizer or partial(Adam, use_averages=False)
        return make(self.learn_rate)

    def fit(self, X: Any, y: Any) -> Self:
        """Trains a new model and returns the estimator.

        Args:
            X: A table (n, columns), or with `validate=False` an input of the model with n items.
            y: The targets (n,). A regressor also accepts (n, k).
        """
        return self._fit(X, y, self.epochs, new=True, classes=y)

    def _fit(self, X: Any, y: Any, epochs: int, *, new: bool, classes: Any = None) -> Self:
        """Trains a new model, or continues with the fitted one."""
        if self.validate:
            X, y = validation.validate_data(self, X, y, reset=new, dtype=FLOATS, **self._y_checks)
        else:
            validation.check_consistent_length(X, y)
        Y = self._encode(y, new=new, classes=classes)
        if new:
            self._start(X, Y)
        X, model, rng = self._input(X), self.model_, self._rng
        for _ in range(epochs):
            total = 0.0
            for inputs, targets in minibatch(self.batch_size, X, Y, rng=rng):
                guesses, backprop = model.begin_update(inputs, self.drop, rng=rng, wants_dX=False)
                gradient, value = self._loss(guesses, targets)
                backprop(gradient, self.optimizer_)
                total += float(value) * len(targets)
            self.loss_curve_.append(total / len(Y))
        return self

    def _start(self, X: Any, Y: Floats2d) -> None:
        """Makes the model, its initial weights and its optimizer. Y is a sample of the output."""
        if not is_size(self.epochs):
            raise InputError(f"expected epochs to be an int of at least 1, got {self.epochs!r}")
        seed = validation.check_random_state(self.random_state).randint(2**31)
        self._rng = np.random.default_rng(seed)
        model = self._compose()
        given = (slot.store.dtype for slot in model.slots_by_path().values())
        self._dtype = np.dtype(next(given, X.dtype if self.validate else "float32"))
        sample = next(minibatch(self.batch_size, self._input(X)))
        self.model_ = model.initialize(sample, Y, rng=self._rng, dtype=self._dtype)
        self.optimizer_ = self._new_optimizer()
        self.loss_curve_: list[float] = []

    def _outputs(self, X: Any) -> Floats2d:
        """Returns the predictions of the model, computed batch by batch."""
        validation.check_is_fitted(self, "model_")
        if self.validate:
            X = validation.validate_data(self, X, reset=False, dtype=FLOATS)
        batches = minibatch(self.batch_size, self._input(X))
        return np.concatenate([self.model_.predict(batch) for batch in batches])

    def _input(self, X: Any) -> Any:
        """Returns X in the form that the model accepts."""
        if self.validate:
            return X.astype(self._dtype, copy=False)
        # pandas would read the row numbers of a batch as labels.
        return X.to_numpy() if hasattr(X, "iloc") else X

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

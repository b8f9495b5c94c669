"""An estimator of scikit-learn as a layer that learns by its own rule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.wrap import wrap
from combinet.errors import DimensionError, FormatError, InputError, describe
from combinet.interop.sklearn.state import set_state, state_of
from combinet.shapes import delegates
from combinet.storage import file_format
from combinet.types import ArrayLike

_LINEAR = tuple(
    getattr(linear_model, name)
    for name in ("SGDClassifier", "Perceptron", "PassiveAggressiveClassifier", "SGDRegressor",
                 "PassiveAggressiveRegressor")
    if hasattr(linear_model, name)
)  # fmt: skip


def SklearnWrapper(
    estimator: Any,
    classes: ArrayLike | Sequence[str] | None = None,
    *,
    nI: int | None = None,
    nO: int | None = None,
    stop_gradient: bool = False,
    name: str | None = None,
) -> Model[Any, Any]:
    """An estimator of scikit-learn with `partial_fit` as a layer, usually the last one.

    X are rows of floats (n, nI). Y (n, nO) has a column for each class, in sorted order, or for
    each target of a regressor. It is the decision function of a classifier if it has one, or else
    its probabilities or, without these, 1 for the predicted class. For two classes the decision
    function d gives the columns -d and d. Y is 0 before the first update.

    The estimator learns from `partial_fit`, once per update, with the rows of all passes since the
    last one. The optimizer does not matter. The label of a row is the class whose output the
    gradient raises most, the column with the smallest number in dY. Rows with a gradient of 0 are
    left out. The target of a regressor is Y - dY, which is exactly the target with `L2Distance` as
    the loss.

    dX is known for linear models (`SGDClassifier`, `Perceptron`, `PassiveAggressiveClassifier`,
    `SGDRegressor`, `PassiveAggressiveRegressor`): dY times the weights. Other estimators raise an
    error if a gradient of their input is needed.

    The fitted state is saved with the model as arrays and numbers, without pickle. Set the
    estimator's `random_state` if training after loading must give the same numbers.

    Args:
        estimator: A classifier or regressor with `partial_fit`. The layer uses a copy.
        classes: The labels of a classifier. By default those of a fitted estimator.
        nI: Number of columns of X. None means that it is inferred.
        nO: Number of targets of a regressor, 1 by default. For a classifier the number of classes.
        stop_gradient: Whether dX is None, so that the layers before are not trained.
        name: Name of the layer. By default "sklearn(GaussianNB)" for an estimator of this class.

    Raises:
        InputError: If `estimator` is not a classifier or regressor with `partial_fit`, or if the
            classes of a classifier are unknown or fewer than two. In a pass: if the gradient of X
            is needed and not known.
        DimensionError: If `nO` is not the number of classes.

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import SGDClassifier
        >>> from combinet import Adam, CategoricalCrossentropy, Relu, softmax_activation
        >>> head = SklearnWrapper(SGDClassifier(random_state=0), classes=["no", "yes"])
        >>> model = Relu(4) >> head >> softmax_activation()
        >>> X = np.ones((2, 3), "float32")
        >>> Y, backprop = model.initialize(X).begin_update(X)
        >>> Y
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
        >>> dY, value = CategoricalCrossentropy()(Y, np.array([1, 1]))
        >>> dX = backprop(dY, Adam(0.01))
        >>> bool((model.predict(X)[:, 1] > 0.9).all())
        True
    """
    layer_name = name or f"sklearn({type(estimator).__name__})"
    obj = _Estimator(layer_name, estimator, classes, nI, nO, stop_gradient)
    layer = wrap(obj, name=layer_name, accepts="floats2d")
    if obj.is_linear or stop_gradient:
        return layer
    return Model(f"{layer_name}[no dX]", _without_dX, layers=[layer], widths=delegates)


def _without_dX(model: Model[Any, Any], X: Any, run: Run) -> tuple[Any, Callable[[Any], None]]:
    """The forward function of an estimator whose gradient is not known."""
    head = model.layers[0]
    if run.train and run.wants_dX:
        raise InputError(
            f"{head.name} expected a pass that needs no gradient of X, which is not known for this "
            f"estimator, got one for layers before it; use a linear estimator, or stop_gradient="
            f"True if they need no training, or wants_dX=False if there are none"
        )
    return run(head, X)


class _Estimator:
    """An estimator that follows the Model API. `SklearnWrapper` describes what it computes."""

    def __init__(
        self, name: str, estimator: Any, classes: Any, nI: int | None, nO: int | None, stop: bool
    ) -> None:
        _check(estimator)
        self.name, self.nI = name, nI
        self.estimator: Any = copy.deepcopy(estimator)
        self.is_fitted = hasattr(estimator, "n_features_in_")
        # Some estimators accept only the dtype of their first rows.
        self.dtype: str | None = None
        if self.is_fitted:
            self.nI = int(estimator.n_features_in_)
            self.dtype = str(getattr(estimator, "coef_", np.empty(0)).dtype)
        self.is_linear = isinstance(estimator, _LINEAR)
        self.stop_gradient = stop
        self.classes: Any = None
        self.nO = nO or 1
        if is_classifier(estimator):
            found = getattr(estimator, "classes_", None) if classes is None else classes
            self.classes = np.unique(np.asarray([] if found is None else found))
            if len(self.classes) < 2:
                raise InputError(
                    f"{name} expected at least two classes, got {found}; pass all labels of the "
                    f"classifier as classes"
                )
            if nO not in (None, len(self.classes)):
                raise DimensionError(f"{name} expected nO={len(self.classes)}, got nO={nO}")
            self.nO = len(self.classes)
        self._passes: list[tuple[Any, Any]] = []

    def initialize(self, X: Any = None, Y: Any = None) -> None:
        if self.nI is None and X is not None:
            self.nI = int(X.shape[1])

    def predict(self, X: Any) -> Any:
        if not self.is_fitted or not len(X):
            return np.zeros((len(X), self.nO), X.dtype)
        Y = self._outputs(X.astype(self.dtype, copy=False))
        return np.asarray(Y, X.dtype).reshape(len(X), self.nO)

    def _outputs(self, X: Any) -> Any:
        if self.classes is None:
            return self.estimator.predict(X)
        if hasattr(self.estimator, "decision_function"):
            scores = self.estimator.decision_function(X)
            return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        if hasattr(self.estimator, "predict_proba"):
            return self.estimator.predict_proba(X)
        return self.estimator.predict(X)[:, None] == self.classes

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:
        Y, weights = self.predict(X), self._weights(X.dtype)

        def backprop(dY: Any, sgd: Any = None) -> Any:
            kept = (dY != 0).any(axis=1)
            targets = Y - dY if self.classes is None else self.classes[dY.argmin(axis=1)]
            rows = slice(None) if self.classes is None else kept
            self._passes.append((X[rows].copy(), targets[rows].copy()))
            if sgd is not None:
                self.finish_update(sgd)
            return None if weights is None else dY @ weights

        return Y, backprop

    def _weights(self, dtype: Any) -> Any:
        """Returns a copy of the weights (nO, nI), or None if dX is not known or not wanted."""
        if self.stop_gradient or not self.is_linear:
            return None
        if not self.is_fitted:
            return np.zeros((self.nO, self.nI or 0), dtype)
        W = np.atleast_2d(self.estimator.coef_).astype(dtype)
        return np.concatenate([-W, W]) if len(W) < self.nO else W

    def finish_update(self, sgd: Any) -> None:
        passes, self._passes = self._passes, []
        if passes and sum(len(X) for X, _ in passes):
            X, targets = (np.concatenate(each) for each in zip(*passes, strict=True))
            self.dtype = self.dtype or str(X.dtype)
            self._fit(self.estimator, X.astype(self.dtype, copy=False), targets)
            self.is_fitted = True

    def _fit(self, estimator: Any, X: Any, targets: Any) -> None:
        if self.classes is None:
            estimator.partial_fit(X, targets.ravel() if self.nO == 1 else targets)
        else:
            estimator.partial_fit(X, targets, classes=self.classes)

    def to_bytes(self, **exclude: bool) -> bytes:
        fitted = self.is_fitted and "params" not in exclude
        classes = None if self.classes is None else [str(each) for each in self.classes]
        state = state_of(self.estimator) if fitted else None
        content = {"nI": self.nI, "nO": self.nO, "classes": classes, "dtype": self.dtype}
        return file_format.encode("estimator", {**content, "state": state})

    def from_bytes(self, data: bytes, **exclude: bool) -> None:
        saved = file_format.decode("estimator", data)
        classes = None if self.classes is None else [str(each) for each in self.classes]
        for what, here in (("classes", classes), ("nO", self.nO)):
            if saved[what] != here:
                raise FormatError(f"{self.name} expected {what}={here}, got {saved[what]}")
        if "params" in exclude:
            return
        estimator, state = copy.deepcopy(self.estimator), saved["state"]
        for name in [name for name in vars(estimator) if name.endswith("_")]:
            delattr(estimator, name)  # what an earlier fit has added
        if state is not None:
            # A first fit creates the objects that the saved state is written into.
            self._fit(estimator, *self._samples(saved["nI"], saved["dtype"]))
            set_state(estimator, state)
        self.estimator, self.is_fitted, self.nI = estimator, state is not None, saved["nI"]
        self.dtype, self._passes = saved["dtype"], []

    def _samples(self, nI: int, dtype: str) -> tuple[Any, Any]:
        """Returns rows of small natural numbers, which every estimator accepts, and targets."""
        n = self.nO if self.classes is not None else 2
        X = np.arange(n * nI, dtype=dtype).reshape(n, nI) % 3
        return X, (np.zeros((n, self.nO)) if self.classes is None else self.classes)


def _check(estimator: Any) -> None:
    """Raises InputError if a value is not a classifier or regressor with `partial_fit`."""
    is_estimator = isinstance(estimator, BaseEstimator) and hasattr(estimator, "partial_fit")
    if not is_estimator or not (is_classifier(estimator) or is_regressor(estimator)):
        raise InputError(
            f"SklearnWrapper expected a classifier or regressor with partial_fit, "
            f"got {describe(estimator)}"
        )

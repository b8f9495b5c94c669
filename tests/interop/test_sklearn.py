"""Estimators: scikit-learn's own checks, and properties beyond them."""

import os
import pickle
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

from helpers.errors import raises

pytest.importorskip("sklearn")
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import combinet as cb
from combinet import DimensionError, InputError
from combinet.interop.sklearn import CombinetClassifier, CombinetRegressor
from combinet.text import features


class Named:
    """A function with its name as repr, so that all pytest-xdist processes have the same ids."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __repr__(self) -> str:
        return str(self.function.__name__)

    def __reduce__(self) -> str:  # like functions, copies are the same object
        return repr(self)


@Named
def deep(width: int = 16) -> cb.Model[Any, Any]:
    return cb.Mish(width) >> cb.LayerNorm() >> cb.Dropout() >> cb.Softmax()


@Named
def linear() -> cb.Model[Any, Any]:
    return cb.Linear(init_W=cb.zeros)


def softmax() -> cb.Model[Any, Any]:
    return cb.Softmax()


ESTIMATORS = [
    CombinetClassifier(),
    CombinetClassifier(deep, epochs=60, batch_size=20, learn_rate=0.01, drop=0.1),
    CombinetRegressor(),
    CombinetRegressor(linear, optimizer=cb.RAdam, learn_rate=0.01),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_scikit_learn_array_api_checks_pass() -> None:
    """They are skipped above because SciPy reads the setting when it is imported."""
    command = [sys.executable, "-m", "pytest", "-q", __file__, "-k", "check_array_api_input"]
    done = subprocess.run(
        command, env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True
    )
    assert f"{len(ESTIMATORS)} passed" in done.stdout, done.stdout + done.stderr
    assert "skipped" not in done.stdout


X, labels = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
names = np.array(["setosa", "versicolor", "virginica"])[labels]


# -- numbers -----------------------------------------------------------------------------------


def test_softmax_converges_to_logistic_regression() -> None:
    rows, y = X[50:, :2], labels[50:]  # the classes overlap, so the optimum is unique
    ours = CombinetClassifier(
        softmax, epochs=400, batch_size=100, learn_rate=0.1, random_state=0
    ).fit(rows, y)
    best = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(rows, y)
    np.testing.assert_allclose(ours.predict_proba(rows), best.predict_proba(rows), atol=1e-4)
    np.testing.assert_array_equal(ours.predict(rows), best.predict(rows))
    assert ours.loss_curve_[-1] == pytest.approx(log_loss(y, best.predict_proba(rows)), abs=1e-6)


@pytest.mark.parametrize("columns", [1, 2])
def test_linear_layer_converges_to_linear_regression(columns: int) -> None:
    targets = X[:, 2] if columns == 1 else X[:, 2:]
    ours = CombinetRegressor(
        linear, epochs=300, batch_size=150, learn_rate=0.05, random_state=0
    ).fit(X[:, :2], targets)
    best = LinearRegression().fit(X[:, :2], targets)
    assert ours.predict(X[:, :2]).shape == targets.shape
    np.testing.assert_allclose(ours.predict(X[:, :2]), best.predict(X[:, :2]), atol=1e-4)
    residue = ((best.predict(X[:, :2]) - targets) ** 2).sum() / 2 / len(X)
    assert ours.loss_curve_[-1] == pytest.approx(residue, abs=1e-6)


def test_classifier_accepts_string_labels() -> None:
    classifier = CombinetClassifier(epochs=30, learn_rate=0.01, random_state=0).fit(X, names)
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert classifier.score(X, names) > 0.95
    best = classifier.predict_proba(X).argmax(axis=1)
    np.testing.assert_array_equal(classifier.classes_[best], classifier.predict(X))
    assert is_classifier(classifier)
    assert is_regressor(CombinetRegressor())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_have_the_dtype_of_the_input(dtype: str) -> None:
    classifier = CombinetClassifier(epochs=1).fit(X.astype(dtype), labels)
    assert classifier.predict_proba(X).dtype == dtype


def test_random_state_determines_the_fit() -> None:
    def fitted(random_state: Any) -> Any:
        classifier = CombinetClassifier(epochs=2, drop=0.3, random_state=random_state)
        return classifier.fit(X, labels).predict_proba(X)

    np.testing.assert_array_equal(fitted(1), fitted(1))
    np.testing.assert_array_equal(fitted(1), fitted(np.random.RandomState(1)))
    assert not np.array_equal(fitted(1), fitted(2))
    assert not np.array_equal(fitted(None), fitted(None))


# -- model and training ------------------------------------------------------------------------


def test_fit_starts_from_the_weights_of_the_given_model() -> None:
    model = cb.Linear(1, 4).initialize(rng=3)
    before = model.to_bytes()
    regressor = CombinetRegressor(lambda: model, epochs=1, learn_rate=1e-12, random_state=0)
    for _ in range(2):
        regressor.fit(X, X[:, 0])
        assert regressor.predict(X).dtype == np.float32
        expected = X @ model.get_param("W").T + model.get_param("b")
        np.testing.assert_allclose(regressor.predict(X), expected[:, 0], rtol=1e-4, atol=1e-5)
    assert model.to_bytes() == before


def test_optimizer_is_called_with_the_learn_rate() -> None:
    make = partial(cb.SGD, grad_clip=0)
    regressor = CombinetRegressor(
        linear, epochs=1, batch_size=150, optimizer=make, learn_rate=0.5, random_state=0
    ).fit(X[:, :2], X[:, 2])
    step = 0.5 * X[:, 2] @ X[:, :2] / len(X)  # from zero, where the error is y
    np.testing.assert_allclose(regressor.model_.get_param("W")[0], step, rtol=1e-9)


def test_partial_fit_is_one_epoch_of_fit() -> None:
    whole = CombinetClassifier(epochs=3, drop=0.2, random_state=0).fit(X, names)
    parts = CombinetClassifier(drop=0.2, random_state=0)
    for _ in range(3):
        parts.partial_fit(X, names, classes=np.unique(names))
    np.testing.assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))
    assert parts.loss_curve_ == whole.loss_curve_


def test_partial_fit_accepts_classes_without_samples() -> None:
    classifier = CombinetClassifier(learn_rate=0.01, random_state=0)
    classifier.partial_fit(X[:50], names[:50], classes=[*names])
    assert classifier.predict_proba(X).shape == (150, 3)
    for _ in range(30):
        classifier.partial_fit(X, names)
    assert classifier.score(X, names) > 0.9
    regressor = CombinetRegressor(random_state=0)
    for _ in range(30):
        regressor.partial_fit(X, X[:, 0])
    assert regressor.score(X, X[:, 0]) > 0.9


def test_unpickled_estimator_continues_training() -> None:
    classifier = CombinetClassifier(deep, epochs=3, drop=0.2, random_state=0).fit(X, names)
    state = classifier.__getstate__()
    assert state["model_"] == classifier.model_.to_bytes()
    assert isinstance(classifier.model_, cb.Model)
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    for each in (classifier, loaded):
        each.partial_fit(X, names)
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    unfitted = pickle.loads(pickle.dumps(CombinetRegressor(epochs=7)))
    assert unfitted.epochs == 7


# -- within scikit-learn------------------------------------------------------------------------


def test_grid_search_works_with_a_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), CombinetClassifier(epochs=20, random_state=0))
    grid = {
        "combinetclassifier__build": [None, deep, partial(deep, 4)],
        "combinetclassifier__learn_rate": [1e-6, 0.01],
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, names)
    assert search.best_params_["combinetclassifier__learn_rate"] == 0.01
    assert search.best_score_ > 0.9
    assert clone(search.best_estimator_).get_params()["combinetclassifier__epochs"] == 20


TEXTS = ["a good film", "good and funny", "bad film", "a bad plot", "so good", "so very bad"] * 5
TONES = ["yes", "yes", "no", "no", "yes", "no"] * 5


def hashed(texts: Any) -> Any:
    return features([text.split() for text in texts])


def textcat(width: int = 8) -> cb.Model[Any, Any]:
    embed = cb.with_array(cb.HashEmbed(width, 100, column=0))
    return cb.list2ragged() >> embed >> cb.reduce_mean() >> cb.Softmax()


def test_pipeline_accepts_lists_of_texts() -> None:
    classify = CombinetClassifier(textcat, validate=False, epochs=20, learn_rate=0.05)
    pipeline = Pipeline([("words", FunctionTransformer(hashed)), ("classify", classify)])
    pipeline.set_params(classify__random_state=0).fit(TEXTS, TONES)
    assert pipeline.predict(["good", "a very bad plot"]).tolist() == ["yes", "no"]
    assert pickle.loads(pickle.dumps(pipeline)).predict(["bad"]).tolist() == ["no"]
    assert cross_val_score(pipeline, TEXTS, TONES, cv=3).mean() == 1
    grid = {"classify__build": [textcat, partial(textcat, 4)]}
    assert GridSearchCV(pipeline, grid, cv=2).fit(TEXTS, TONES).best_score_ == 1


def words() -> cb.Model[Any, Any]:
    """A layer that hashes texts for `textcat`."""
    return cb.Model("words", lambda model, X, run: (hashed(X), lambda dY: None))


def test_pandas_series_is_indexed_by_position() -> None:
    pandas = pytest.importorskip("pandas")
    shuffled = pandas.Series(TEXTS).sample(frac=1, random_state=0)
    tones = np.array(TONES)[shuffled.index]
    assert tones.tolist() != TONES
    classifier = CombinetClassifier(
        lambda: words() >> textcat(), validate=False, epochs=20, learn_rate=0.05, random_state=0
    ).fit(shuffled, tones)
    assert classifier.predict(shuffled).tolist() == tones.tolist()


def summed() -> cb.Model[Any, Any]:
    return cb.list2ragged() >> cb.reduce_sum() >> cb.Linear()


def test_regressor_accepts_lists_of_arrays() -> None:
    rng = np.random.default_rng(0)
    docs = [rng.normal(size=(n, 3)).astype("float32") for n in rng.integers(1, 6, 60)]
    sums = [float(doc.sum()) for doc in docs]
    regressor = CombinetRegressor(summed, validate=False, learn_rate=0.05, random_state=0)
    np.testing.assert_allclose(regressor.fit(docs, sums).predict(docs), sums, atol=0.05)


# -- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"build": list}, InputError, "list"),
        ({"build": lambda: cb.Softmax(2)}, DimensionError, "nO=2 ... 3"),
        ({"epochs": 0}, InputError, "epochs ... 0"),
        ({"batch_size": 0}, InputError, "size ... 0"),
        ({"drop": 1}, InputError, "drop"),
    ],
)
def test_invalid_settings_fail(options: Any, error: Any, words: str) -> None:
    with raises(error, words):
        CombinetClassifier(**options).fit(X, labels)


def test_invalid_classes_fail() -> None:
    classifier = CombinetClassifier()
    with raises(ValueError, "classes"):
        classifier.partial_fit(X, labels)
    with raises(ValueError, "[0 1]", "[2]"):
        classifier.partial_fit(X, labels, classes=[0, 1])
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    fitted = CombinetClassifier(epochs=1).fit(X, labels)
    with raises(ValueError, "[0 1]"):
        fitted.partial_fit(X, labels, classes=[0, 1])
    with raises(ValueError, "[-1  7]"):
        fitted.partial_fit(X[:2], [7, -1])


def test_lengths_are_checked_even_without_validation() -> None:
    with raises(ValueError, "samples"):
        CombinetClassifier(textcat, validate=False).fit(hashed(TEXTS), TONES[:3])
    with pytest.raises(NotFittedError):
        CombinetClassifier(textcat, validate=False).predict(hashed(TEXTS))

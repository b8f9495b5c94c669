"""SklearnWrapper: estimators with partial_fit as layers, compared with scikit-learn alone."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, FormatError, InputError
from helpers.arrays import floats
from helpers.errors import raises

pytest.importorskip("sklearn")
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from combinet.interop.sklearn import SklearnWrapper

SGD = cb.SGD(0.1)
X3, LABELS = floats(30, 4), np.arange(30) % 3
ESTIMATORS: dict[str, Any] = {
    "sgd": lambda: SklearnWrapper(SGDClassifier(random_state=0), [0, 1, 2]),
    "averaged": lambda: SklearnWrapper(SGDClassifier(random_state=0, average=True), [0, 1, 2]),
    "perceptron": lambda: SklearnWrapper(Perceptron(random_state=0), [0, 1, 2]),
    "bayes": lambda: SklearnWrapper(GaussianNB(), [0, 1, 2], stop_gradient=True),
    "mlp": lambda: SklearnWrapper(
        MLPClassifier((5,), random_state=np.random.RandomState(0)), [0, 1, 2], stop_gradient=True
    ),
}


def onehot(labels: Any, n: int = 3) -> Any:
    return np.eye(n)[labels]


def step(layer: Any, X: Any, labels: Any, sgd: Any = SGD) -> Any:
    """A pass whose gradient raises the outputs of these classes. Returns dX."""
    _, backprop = layer.begin_update(X)
    return backprop(-onehot(labels, layer.get_dim("nO")), sgd)


def test_updates_are_those_of_partial_fit() -> None:
    alone = SGDClassifier(random_state=0)
    layer = SklearnWrapper(alone, [0, 1, 2]).initialize(X3)
    np.testing.assert_array_equal(layer.predict(X3), np.zeros((30, 3)))
    for part in (slice(0, 10), slice(10, 30)):
        step(layer, X3[part], LABELS[part])
        alone.partial_fit(X3[part], LABELS[part], classes=[0, 1, 2])
    np.testing.assert_array_equal(layer.predict(X3), alone.decision_function(X3))


def test_two_classes_have_two_columns() -> None:
    alone, labels = SGDClassifier(random_state=0), np.array(["no", "yes"])[LABELS[:30] % 2]
    layer = SklearnWrapper(alone, ["yes", "no"]).initialize(X3)
    step(layer, X3, (labels == "yes").astype(int))
    alone.partial_fit(X3, labels, classes=["no", "yes"])
    scores = alone.decision_function(X3)
    np.testing.assert_array_equal(layer.predict(X3), np.stack([-scores, scores], axis=1))
    W, dY = alone.coef_, floats(30, 2)
    _, backprop = layer.begin_update(X3)
    np.testing.assert_allclose(backprop(dY), dY[:, 1:] @ W - dY[:, :1] @ W, rtol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "averaged", "perceptron"])
def test_gradient_of_the_decision_function_matches_central_differences(name: str) -> None:
    layer = ESTIMATORS[name]().initialize(X3)
    step(layer, X3, LABELS)
    X, dY, h = X3[:4].copy(), floats(4, 3), 1e-5
    _, backprop = layer.begin_update(X)
    dX = backprop(dY)
    for index in np.ndindex(X.shape):
        moved = np.zeros_like(X)
        moved[index] = h
        difference = (dY * (layer.predict(X + moved) - layer.predict(X - moved))).sum() / (2 * h)
        np.testing.assert_allclose(dX[index], difference, rtol=1e-6, atol=1e-6)


def test_regressor_learns_the_target_of_the_squared_distance() -> None:
    alone, targets = SGDRegressor(random_state=0), X3[:, :1] - X3[:, 1:2]
    layer = SklearnWrapper(alone).initialize(X3)
    for _ in range(3):
        Y, backprop = layer.begin_update(X3)
        dX = backprop(cb.L2Distance(normalize=False)(Y, targets)[0], SGD)
        W = alone.coef_[None] if hasattr(alone, "coef_") else np.zeros((1, 4))
        np.testing.assert_allclose(dX, (Y - targets) @ W, rtol=1e-6, atol=1e-12)
        alone.partial_fit(X3, targets.ravel())
    np.testing.assert_allclose(layer.predict(X3)[:, 0], alone.predict(X3), rtol=1e-9)


def test_several_targets() -> None:
    alone, targets = MLPRegressor(hidden_layer_sizes=(5,), random_state=0), floats(30, 2)
    layer = SklearnWrapper(alone, nO=2, stop_gradient=True).initialize(X3)
    Y, backprop = layer.begin_update(X3)
    assert backprop(Y - targets, SGD) is None
    np.testing.assert_allclose(
        layer.predict(X3), alone.partial_fit(X3, targets).predict(X3), rtol=1e-9
    )


def test_rows_without_a_gradient_are_left_out() -> None:
    alone, dY = GaussianNB(), -onehot(LABELS)
    dY[::5] = 0
    layer = SklearnWrapper(alone, [0, 1, 2], stop_gradient=True).initialize(X3)
    layer.begin_update(X3)[1](np.zeros_like(dY), SGD)
    np.testing.assert_array_equal(layer.predict(X3), np.zeros((30, 3)))
    layer.begin_update(X3)[1](dY, SGD)
    kept = np.arange(30) % 5 != 0
    alone.partial_fit(X3[kept], LABELS[kept], classes=[0, 1, 2])
    np.testing.assert_array_equal(layer.predict(X3), alone.predict_proba(X3))


def test_passes_before_an_update_count_together() -> None:
    alone = SGDClassifier(random_state=0).partial_fit(X3, LABELS, classes=[0, 1, 2])
    model = (cb.noop() >> ESTIMATORS["sgd"]()).initialize(X3)
    for part in (slice(0, 12), slice(12, 30)):
        _, backprop = model.begin_update(X3[part])
        backprop(-onehot(LABELS[part]))
        assert not model.predict(X3).any()
    model.finish_update(SGD)
    np.testing.assert_array_equal(model.predict(X3), alone.decision_function(X3))


def test_fitted_estimator_is_copied() -> None:
    alone = SGDClassifier(random_state=0).fit(X3, LABELS)
    scores = alone.decision_function(X3)
    layer = SklearnWrapper(alone)
    assert (layer.get_dim("nI"), layer.get_dim("nO")) == (4, 3)
    np.testing.assert_array_equal(layer.predict(X3), scores)
    step(layer, X3, LABELS)
    np.testing.assert_array_equal(alone.decision_function(X3), scores)


def test_layers_before_the_head_learn() -> None:
    """Rings are not linear in X, so the head alone cannot separate them."""
    X = floats(300, 2)
    labels = ((X**2).sum(axis=1) > 1.4).astype(int)
    head = SklearnWrapper(SGDClassifier(loss="log_loss", random_state=0), [0, 1])
    model = (cb.Relu(16) >> head >> cb.softmax_activation()).initialize(X, rng=0, dtype="float64")
    before, sgd = model[0].get_param("W").copy(), cb.Adam(0.01)
    for _ in range(100):
        Y, backprop = model.begin_update(X)
        backprop(cb.CategoricalCrossentropy()(Y, labels)[0], sgd)
    assert (model[0].get_param("W") != before).all()
    alone = SGDClassifier(loss="log_loss", random_state=0).fit(X, labels).score(X, labels)
    assert (model.predict(X).argmax(axis=1) == labels).mean() > max(0.9, alone + 0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_saved_model_resumes_with_the_same_bits(name: str, dtype: str) -> None:
    X3 = floats(30, 4).astype(dtype)

    def build() -> Any:
        return (cb.Linear(4, 4) >> ESTIMATORS[name]()).initialize(X3, rng=0, dtype=dtype)

    model, again, sgd, resumed = build(), build(), cb.Adam(0.1), cb.Adam(0.1)
    for _ in range(3):
        step(model, X3, LABELS, sgd)
    step(again, X3[:6], LABELS[:6])  # replaced by what is loaded
    again.from_bytes(model.to_bytes())
    resumed.from_bytes(sgd.to_bytes(model), again)
    for _ in range(2):
        np.testing.assert_array_equal(again.predict(X3), model.predict(X3))
        step(model, X3, LABELS, sgd)
        step(again, X3, LABELS, resumed)
    assert again.to_bytes() == model.to_bytes()
    unfitted = build()
    again.from_bytes(unfitted.to_bytes())
    np.testing.assert_array_equal(again.predict(X3), np.zeros((30, 3)))


def test_copy_is_independent() -> None:
    layer = ESTIMATORS["sgd"]().initialize(X3)
    step(layer, X3, LABELS)
    copy, Y = layer.copy(), layer.predict(X3)
    step(copy, X3, (LABELS + 1) % 3)
    np.testing.assert_array_equal(layer.predict(X3), Y)
    assert (copy.predict(X3) != Y).any()


# -- bad input ---------------------------------------------------------------------------------


def test_error_where_an_unknown_gradient_is_needed() -> None:
    model = (cb.Linear(4, 4) >> SklearnWrapper(GaussianNB(), [0, 1, 2])).initialize(
        X3, dtype="float64"
    )
    with raises(InputError, "sklearn(GaussianNB) ... gradient ... stop_gradient"):
        model.begin_update(X3)
    assert model.predict(X3).shape == (30, 3)
    alone = SklearnWrapper(GaussianNB(), [0, 1, 2]).initialize(X3)
    assert alone.begin_update(X3, wants_dX=False)[1](-onehot(LABELS), SGD) is None
    assert alone.predict(X3).any()


@pytest.mark.parametrize("value", [LogisticRegression(), MiniBatchKMeans(), SGDClassifier, "svm"])
def test_error_for_other_estimators(value: Any) -> None:
    with raises(InputError, "SklearnWrapper ... partial_fit"):
        SklearnWrapper(value, [0, 1])


def test_errors_for_classes() -> None:
    with raises(InputError, "sklearn(Perceptron) ... classes ... None"):
        SklearnWrapper(Perceptron())
    with raises(InputError, "sklearn(Perceptron) ... two ... ['a']"):
        SklearnWrapper(Perceptron(), ["a"])
    with raises(DimensionError, "nO=2 ... nO=3"):
        SklearnWrapper(Perceptron(), ["a", "b"], nO=3)


def test_error_for_the_state_of_other_classes() -> None:
    layer = ESTIMATORS["sgd"]().initialize(X3)
    step(layer, X3, LABELS)
    other = SklearnWrapper(SGDClassifier(), ["a", "b", "c"], nI=4)
    with raises(FormatError, "sklearn(SGDClassifier) ... classes", "0", "a"):
        other.from_bytes(layer.to_bytes())

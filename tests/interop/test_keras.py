"""KerasWrapper: Keras layers as layers, with the backend torch here and jax in a child process."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DeviceError, InputError
from combinet.testing import check_backprop, check_layer, check_predict, check_sums
from helpers.arrays import floats
from helpers.commands import ROOT
from helpers.errors import raises
from helpers.models import named_params

pytest.importorskip(os.environ["KERAS_BACKEND"])
keras: Any = pytest.importorskip("keras")
KerasWrapper = pytest.importorskip("combinet.interop.keras").KerasWrapper

BACKEND = keras.config.backend()
L = keras.layers


def float32(*shape: int, seed: int = 0) -> Any:
    return floats(*shape, seed=seed).astype("float32")


def check_gradients(model: Any, X: Any) -> None:
    """Compares gradients with central differences, as exactly as float32 allows.

    Keras computes in float32, so the step is long, and each function here has small third
    derivatives. Rounding adds an error of about 1e-6 / 1e-2 to each difference.
    """

    def begin() -> Any:
        return model.begin_update(X, rng=1)

    def value() -> float:
        return sum(
            float((r * y).sum(dtype="float64")) for r, y in zip(R, listed(begin()[0]), strict=True)
        )

    def compare(array: Any, gradient: Any, write: Callable[[], None], what: str) -> None:
        for index in [*np.ndindex(array.shape)][:: max(1, array.size // 12)]:
            x = array[index]
            at = []
            for moved in (x + 0.01, x - 0.01):
                array[index] = moved
                write()
                at.append(value())
            array[index] = x
            write()
            limit = 0.005 * max(1, np.abs(gradient).max())
            assert abs((at[0] - at[1]) / 0.02 - gradient[index]) < limit, (what, index)

    Y, backprop = begin()
    R = [float32(*y.shape, seed=9) for y in listed(Y)]
    dX = backprop(R if isinstance(Y, list) else R[0])
    for x, dx in zip(listed(X), listed(dX), strict=True):
        if dx is not None:
            compare(x, dx, lambda: None, "X")
    for _, layer, name in named_params(model):
        if layer.has_grad(name):
            array, gradient = layer.get_param(name).copy(), layer.get_grad(name)
            compare(array, gradient, partial(layer.set_param, name, array), name)


def listed(batch: Any) -> list[Any]:
    return batch if isinstance(batch, list) else [batch]


def built(*layers: Any, shape: tuple[Any, ...] = (None, 3)) -> Any:
    model = keras.Sequential(layers)
    model.build(shape)
    return model


def mlp() -> Any:
    keras.utils.set_random_seed(0)
    return built(L.Dense(5, activation="tanh"), L.Dense(2))


def dropout(rate: float = 0.5) -> Any:
    return built(L.Dropout(rate), L.Dense(2))


def normed() -> Any:
    return built(L.Dense(4), L.BatchNormalization(momentum=0.7))


def two_inputs() -> Any:
    a, b = keras.Input((3,)), keras.Input((2,))
    return keras.Model([a, b], [L.Dense(4)(L.Concatenate()([a, b])), a * a])


def embedded() -> Any:
    """Ids padded with 0, which the mask of the embedding hides from the recurrent layer."""
    keras.utils.set_random_seed(0)
    return built(L.Embedding(9, 3, mask_zero=True), L.GRU(4), shape=(None, 5))


class Nested(keras.Layer):  # type: ignore[misc]
    """A layer whose `call` does not take `training`, with a weight that has no name."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.add_weight(shape=(3,), initializer="ones")
        self.dropout = L.Dropout(0.5)
        self.built = True

    def call(self, X: Any) -> Any:
        return self.dropout(X * self.scale)


def shared() -> Any:
    layer = KerasWrapper(L.Dense(3, activation="tanh"), nI=3, nO=3)
    return layer >> cb.Linear(3) >> layer


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "dense": (lambda: KerasWrapper(mlp(), nI=3, nO=2), float32(4, 3)),
    "no-weights": (lambda: KerasWrapper(L.Activation("tanh")), float32(4, 3)),
    "recurrent": (lambda: KerasWrapper(built(L.LSTM(3), shape=(None, 4, 2))),
                  float32(3, 4, 2)),
    "two-inputs": (lambda: KerasWrapper(two_inputs()), [float32(4, 3), float32(4, 2)]),
    "ids": (lambda: KerasWrapper(embedded()), np.array([[1, 5, 2, 0, 0], [1, 2, 2, 8, 1]])),
    "between-layers": (lambda: cb.Linear() >> KerasWrapper(mlp(), nI=3, nO=2) >> cb.LayerNorm(),
                       float32(4, 6)),
    "in-rows-of-sequences": (
        lambda: cb.with_array(cb.residual(KerasWrapper(L.Dense(3), nI=3, nO=3))),
        [float32(4, 3), float32(2, 3)],
    ),
    "shared": (shared, float32(4, 3)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrapped_layer_satisfies_the_invariants(case: str) -> None:
    build, X = CASES[case]
    model = build().initialize(X, rng=0)
    # In float32, sums in another order and other kernels in prediction round differently.
    exact = {"recurrent": check_predict, "shared": check_sums}
    check_layer(model, X, skip=[check_backprop, *(each for c, each in exact.items() if c == case)])
    check_gradients(model, X)


def test_batch_normalization_satisfies_the_invariants_of_training() -> None:
    check_layer(KerasWrapper(normed()), float32(6, 3), skip=[check_backprop, check_predict])
    check_gradients(KerasWrapper(normed()), float32(6, 3))


def step(model: Any, X: Any, sgd: Any = None, **options: Any) -> Any:
    """One pass with Y - 1 as the gradient. Returns Y and dX."""
    Y, backprop = model.begin_update(X, **options)
    return Y, backprop(Y - 1, sgd)


# -- results -----------------------------------------------------------------------------------


def test_output_and_gradients_match_the_formula() -> None:
    keras_layer = mlp()
    model = KerasWrapper(keras_layer)
    X = float32(5, 3)
    W, b, V, c = (np.asarray(w, "float64") for w in keras_layer.get_weights())
    H = np.tanh(X @ W + b)
    Y, dX = step(model, X)
    np.testing.assert_allclose(Y, H @ V + c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(X), H @ V + c, rtol=1e-5, atol=1e-6)
    dY = H @ V + c - 1
    dA = (1 - H**2) * (dY @ V.T)
    np.testing.assert_allclose(dX, dA @ W.T, rtol=1e-5, atol=1e-6)
    assert model.param_names == ("kernel[0]", "bias[0]", "kernel[1]", "bias[1]")
    for name, expected in zip(model.param_names, (X.T @ dA, dA.sum(0), H.T @ dY, dY.sum(0)),
                              strict=True):  # fmt: skip
        np.testing.assert_allclose(model.get_grad(name), expected, rtol=1e-5, atol=1e-6)


def test_update_changes_the_parameters_and_not_the_keras_layer() -> None:
    keras_layer = mlp()
    before = keras_layer.get_weights()
    model, X = KerasWrapper(keras_layer), float32(5, 3)
    Y = model.predict(X)
    step(model, X, cb.SGD(0.1, grad_clip=0))
    np.testing.assert_allclose(
        model.get_param("bias[1]"), before[3] - 0.1 * (Y - 1).sum(0), rtol=1e-5, atol=1e-6
    )
    for value, now in zip(before, keras_layer.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_gradients_of_two_inputs_and_of_none() -> None:
    model = KerasWrapper(two_inputs())
    X = [float32(4, 3), float32(4, 2)]
    Y, backprop = model.begin_update(X)
    dX = backprop([np.zeros_like(Y[0]), np.ones_like(Y[1])])
    np.testing.assert_allclose(dX[0], 2 * X[0])
    assert not np.any(dX[1])
    _, backprop = model.begin_update(X, wants_dX=False)
    model.clear_gradients()
    assert backprop([np.ones_like(Y[0]), np.zeros_like(Y[1])]) is None
    np.testing.assert_allclose(model.get_grad("bias"), np.full(4, 4.0))


def test_mask_hides_padding() -> None:
    model = KerasWrapper(embedded())
    padded = model.predict(np.array([[4, 7, 0, 0, 0]]))
    np.testing.assert_allclose(padded, model.predict(np.array([[4, 7]])), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 by default")
def test_float64_layer_returns_float32() -> None:
    model = KerasWrapper(L.Dense(2, dtype="float64"), nI=3)
    Y, dX = step(model, float32(4, 3))
    assert (Y.dtype, dX.dtype, model.dtype) == ("float32", "float32", "float32")
    np.testing.assert_allclose(dX, (Y - 1) @ model.get_param("kernel").T, rtol=1e-5)


def test_half_precision_is_computed_by_keras_and_returned_as_float32() -> None:
    model = KerasWrapper(L.Dense(2, dtype="mixed_bfloat16"), nI=3)
    X = float32(4, 3).astype("float32")
    Y, _ = step(model, X)
    assert (Y.dtype, model.get_grad("kernel").dtype) == ("float32", "float32")
    np.testing.assert_allclose(Y, X @ model.get_param("kernel"), atol=0.05)
    assert not np.allclose(Y, X @ model.get_param("kernel"), atol=1e-6)


# -- dropout -----------------------------------------------------------------------------------


def test_dropout_follows_the_generator_of_the_pass() -> None:
    model = KerasWrapper(L.Dropout(0.5), nI=100)
    X = np.ones((100, 100), "float32")
    Y, _ = step(model, X, rng=1)
    assert set(np.unique(Y)) == {0.0, 2.0}
    assert abs(Y.mean() - 1) < 0.05  # five standard deviations: 1 / sqrt(10_000)
    np.testing.assert_array_equal(Y, step(model, X, rng=1)[0])
    assert (step(model, X, rng=2)[0] != Y).any()
    np.testing.assert_array_equal(model.predict(X), X)


def test_two_dropout_layers_have_different_masks() -> None:
    X = np.ones((50, 50), "float32")
    inputs = keras.Input((50,))
    both = keras.Model(inputs, [L.Dropout(0.5)(inputs), L.Dropout(0.5)(inputs)])
    first, second = KerasWrapper(both).begin_update(X)[0]
    assert (first != second).any()


def test_training_reaches_layers_inside_a_layer_of_ones_own() -> None:
    model = KerasWrapper(Nested())
    X = np.ones((20, 3), "float32")
    assert set(np.unique(step(model, X)[0])) == {0.0, 2.0}
    np.testing.assert_array_equal(model.predict(X), X)


@pytest.mark.parametrize("around", [lambda layer: layer, cb.checkpointed])
def test_gradients_use_the_same_mask(around: Any) -> None:
    check_gradients(around(KerasWrapper(dropout())), float32(40, 3))


def test_drop_has_no_effect() -> None:
    model, X = KerasWrapper(dropout(0.0)), float32(40, 3)
    np.testing.assert_array_equal(model.begin_update(X, drop=0.9)[0], model.predict(X))


# -- weights that are not trained --------------------------------------------------------------


def test_moving_statistics_are_buffers() -> None:
    model, X = KerasWrapper(L.BatchNormalization(momentum=0.7), nI=3), float32(6, 3)
    _, backprop = model.begin_update(X)
    np.testing.assert_array_equal(model.get_param("moving_mean"), np.zeros(3))
    backprop(np.ones_like(X))
    np.testing.assert_array_equal(model.get_param("moving_mean"), np.zeros(3))
    model.finish_update(cb.SGD(0.1))
    np.testing.assert_allclose(
        model.get_param("moving_mean"), 0.3 * X.mean(0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        model.get_param("moving_variance"), 0.7 + 0.3 * X.var(0), rtol=1e-5, atol=1e-6
    )
    mean, variance = model.get_param("moving_mean"), model.get_param("moving_variance")
    scaled = (X - mean) / np.sqrt(variance + 0.001)
    expected = scaled * model.get_param("gamma") + model.get_param("beta")
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)


def test_frozen_weights_stay_and_are_saved() -> None:
    def build() -> Any:
        frozen = L.Dense(4)
        frozen.trainable = False
        return KerasWrapper(built(frozen, L.Dense(2)))

    model, X = build(), float32(5, 3)
    kernel, other = model.get_param("kernel[0]"), model.get_param("kernel[1]")
    step(model, X, cb.Adam(0.1))
    np.testing.assert_array_equal(model.get_param("kernel[0]"), kernel)
    assert (model.get_param("kernel[1]") != other).all()
    np.testing.assert_array_equal(build().from_bytes(model.to_bytes()).predict(X), model.predict(X))


def test_metrics_are_not_weights() -> None:
    keras_model = mlp()
    keras_model.compile(loss="mse", metrics=["mae"])
    keras_model.evaluate(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    assert len(KerasWrapper(keras_model).param_names) == 4


class Counts(keras.Layer):  # type: ignore[misc]
    """Counts its calls in training from a first number."""

    def __init__(self, first: int) -> None:
        super().__init__()
        initializer = keras.initializers.Constant(first)
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer=initializer, trainable=False, name="count"
        )
        self.built = True

    def call(self, X: Any, training: bool = False) -> Any:
        if training:
            self.count.assign_add(1)
        return X * keras.ops.cast(self.count, X.dtype)


def test_counters_are_buffers() -> None:
    model, X = KerasWrapper(Counts(2)), np.ones((1, 3), "float32")
    for expected in (3, 4):
        Y, _ = step(model, X, cb.SGD(0.1))
        np.testing.assert_array_equal(Y, expected * X)
    np.testing.assert_array_equal(model.predict(X), 4 * X)


# -- saving, copies and other processes --------------------------------------------------------


def network() -> Any:
    """A chain with a new Keras layer, whose names Keras has numbered further."""
    return cb.Linear(3, 3) >> KerasWrapper(normed(), nI=3, nO=4) >> cb.Softmax(2)


def test_saved_model_resumes_with_the_same_bits() -> None:
    X = float32(8, 3)
    model, sgd = network().initialize(rng=0), cb.Adam(0.01)
    for _ in range(3):
        step(model, X, sgd)
    again, resumed = network().initialize(rng=1), cb.Adam(0.01)
    again.from_bytes(model.to_bytes())
    resumed.from_bytes(sgd.to_bytes(model), again)
    for _ in range(3):
        step(model, X, sgd)
        step(again, X, resumed)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.to_bytes() == model.to_bytes()


def test_copy_is_independent() -> None:
    model, X = KerasWrapper(mlp()), float32(4, 3)
    copy, Y = model.copy(), model.predict(X)
    step(copy, X, cb.SGD(0.1))
    np.testing.assert_array_equal(model.predict(X), Y)
    assert (copy.predict(X) != Y).any()


def test_averages_and_trained_values_back_in_keras() -> None:
    keras_layer = mlp()
    model, X, sgd = KerasWrapper(keras_layer), float32(4, 3), cb.SGD(0.1)
    for _ in range(3):
        step(model, X, sgd)
    with model.use_params(sgd.averages):
        keras_layer.set_weights([model.get_param(name) for name in model.param_names])
        averaged = model.predict(X)
    expected = keras.ops.convert_to_numpy(keras_layer(X))
    np.testing.assert_allclose(averaged, expected, rtol=1e-5, atol=1e-6)
    assert (averaged != model.predict(X)).any()


def test_pickled_layer_computes_the_same() -> None:
    model, X = KerasWrapper(normed(), nI=3), float32(4, 3)
    step(model, X, cb.SGD(0.1))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(step(again, X)[1], step(model, X)[1])


def test_parallel_shards_give_the_same_gradients() -> None:
    X = float32(40, 3)
    model = KerasWrapper(mlp(), nI=3, nO=2)
    threaded = cb.with_threads(model, 2)
    _, dX = step(model, X)
    kernel = model.get_grad("kernel[0]")
    model.clear_gradients()
    np.testing.assert_allclose(step(threaded, X)[1], dX, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.get_grad("kernel[0]"), kernel, rtol=1e-5, atol=1e-6)


# -- bad input ---------------------------------------------------------------------------------


def test_error_for_what_is_not_a_keras_layer() -> None:
    with raises(InputError, "KerasWrapper ... Keras ... Model"):
        KerasWrapper(cb.Linear(3))


def test_error_for_a_layer_without_weights_yet() -> None:
    with raises(InputError, "keras(Dense) ... built", "nI"):
        KerasWrapper(L.Dense(3))


def test_error_for_integers_that_are_not_exact() -> None:
    with raises(InputError, "keras(Counts) ... float32 ... int32 ... count"):
        KerasWrapper(Counts(2**24 + 1))


@pytest.mark.parametrize(
    "X", [cb.Ragged(np.ones((3, 3), "float32"), [1, 2]), "text", None, [["a"]]]
)
def test_error_for_other_batches(X: Any) -> None:
    model = cb.noop() >> KerasWrapper(mlp())
    with raises(InputError, "chain >> keras(Sequential) ... arrays"):
        model.predict(X)


def test_error_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KerasWrapper(mlp())
    monkeypatch.setattr(type(model.ops), "device", 0)
    with raises(DeviceError, "with_cpu"):
        model.predict(float32(4, 3))


# -- backends ----------------------------------------------------------------------------------


def child(*command: str, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.skipif(BACKEND == "jax", reason="this is the child process")
@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_all_tests_of_this_file_with_jax() -> None:
    ran = child("-m", "pytest", "-q", "-x", __file__, KERAS_BACKEND="jax")
    assert ran.returncode == 0, ran.stdout[-3000:]


@pytest.mark.skipif(BACKEND == "jax", reason="once is enough")
def test_error_names_the_setting_for_another_backend() -> None:
    code = "import keras; from combinet.interop.keras import KerasWrapper as wrap; "
    code += "wrap(keras.layers.Dense(3), nI=3)"
    last = child("-c", code, KERAS_BACKEND="numpy").stderr.splitlines()[-1]
    assert last.startswith("combinet.errors.InputError: keras(Dense) ")
    assert "numpy" in last
    assert "KERAS_BACKEND" in last
    if find_spec("tensorflow") is None:
        last = child("-c", code[14:], KERAS_BACKEND="tensorflow").stderr.splitlines()[-1]
        assert last.startswith("ImportError: combinet.interop.keras ")
        assert "KERAS_BACKEND" in last

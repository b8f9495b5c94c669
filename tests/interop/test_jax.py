"""JaxWrapper: JAX functions as layers, compared with jax.grad and central differences."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DeviceError, DimensionError, InputError
from combinet.testing import check_backprop, check_device, check_layer
from helpers.errors import raises

jax: Any = pytest.importorskip("jax")
jnp: Any = pytest.importorskip("jax.numpy")
JaxWrapper = pytest.importorskip("combinet.interop.jax").JaxWrapper


@pytest.fixture
def float64() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def normal(*shape: int, seed: int = 0, dtype: str = "float64") -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def network(params: Any, X: Any) -> Any:
    H = jnp.tanh(X @ params["hidden"]["W"] + params["hidden"]["b"])
    return H @ params["out"][0] * params["out"][1]


def weights(nI: int = 3, nH: int = 5, nO: int = 2) -> Any:
    hidden = {"W": normal(nI, nH, seed=1), "b": normal(nH, seed=2)}
    return {"hidden": hidden, "out": (normal(nH, nO, seed=3), np.float64(1.5))}


def gather(params: Any, X: Any) -> Any:
    """Two results from the rows of a table: (ids (n,), floats (n, 3)) -> ((n, 3), (n,))."""
    ids, rows = X
    picked = params[ids] * rows
    return jnp.sin(picked), picked.sum(axis=1)


def masked(params: Any, X: Any, key: Any, drop: Any) -> Any:
    if key is not None:
        X = jnp.where(jax.random.bernoulli(key, 1 - drop, X.shape), X / (1 - drop), 0)
    return X @ params


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "nested": (lambda: JaxWrapper(network, weights()), normal(4, 3)),
    "tuple-with-ids": (
        lambda: JaxWrapper(gather, normal(6, 3)),
        (np.array([1, 5, 1, 0]), normal(4, 3)),
    ),
    "list": (
        lambda: JaxWrapper(lambda p, X: [X[0] * p, X[1] ** 2], normal(2)),
        [normal(4, 2), normal(3)],
    ),
    "ids": (lambda: JaxWrapper(lambda p, X: p[X], normal(6, 3)), np.array([[1, 5], [1, 0]])),
    "no-parameters": (lambda: JaxWrapper(lambda p, X: jnp.sin(X), ()), normal(4, 3)),
    "dropout": (lambda: JaxWrapper(masked, normal(3, 2), dropout=True), normal(4, 3)),
    "between-layers": (
        lambda: cb.Linear() >> JaxWrapper(network, weights(), nI=3, nO=2) >> cb.LayerNorm(),
        normal(4, 6),
    ),
    "in-rows-of-sequences": (
        lambda: cb.with_array(cb.residual(JaxWrapper(network, weights(nO=3)))),
        [normal(4, 3), normal(2, 3)],
    ),
    "shared": (
        lambda: (lambda layer: layer >> cb.Linear(3) >> layer)(JaxWrapper(network, weights())),
        normal(4, 3),
    ),
}


@pytest.mark.parametrize(("build", "X"), CASES.values(), ids=CASES.keys())
@pytest.mark.usefixtures("float64")
def test_wrapped_function_satisfies_the_invariants(build: Any, X: Any) -> None:
    check_layer(build(), X)


@pytest.mark.parametrize("around", [lambda layer: layer, cb.checkpointed])
@pytest.mark.usefixtures("float64")
def test_gradients_with_dropout_use_the_same_mask(around: Any) -> None:
    layer = around(JaxWrapper(masked, normal(3, 2), dropout=True))
    check_backprop(layer, normal(40, 3), drop=0.5)


def train(layer: Any, X: Any, R: Any, sgd: Any = None, **options: Any) -> tuple[Any, Any]:
    Y, backprop = layer.begin_update(X, **options)
    return Y, backprop(R, sgd)


def expected(X: Any, R: Any, params: Any, apply: Any = network) -> Any:
    """The gradients of sum(R * apply(params, X)), computed by JAX."""
    params = jax.tree_util.tree_map(lambda w: np.asarray(w, "float32"), params)
    return jax.grad(lambda p, X: (R * apply(p, X)).sum(), argnums=(0, 1))(params, X)


def test_gradients_match_jax_and_are_named_by_pytree_path() -> None:
    layer = JaxWrapper(network, weights()).initialize()
    X, R = normal(4, 3, dtype="float32"), normal(4, 2, seed=9, dtype="float32")
    Y, dX = train(layer, X, R)
    np.testing.assert_allclose(Y, network(weights(), X), rtol=1e-5)
    gradients, of_X = expected(X, R, weights())
    np.testing.assert_allclose(dX, of_X, rtol=1e-5)
    assert layer.param_names == ("hidden.W", "hidden.b", "out.0", "out.1")
    for name, leaf in zip(layer.param_names, jax.tree_util.tree_leaves(gradients), strict=True):
        np.testing.assert_allclose(layer.get_grad(name), leaf, rtol=1e-5)


def test_parameter_gradients_match_without_dX() -> None:
    X, R = normal(4, 3, dtype="float32"), normal(4, 2, seed=9, dtype="float32")
    layer = JaxWrapper(network, weights()).initialize()
    assert train(layer, X, R, wants_dX=False)[1] is None
    gradients, _ = expected(X, R, weights())
    np.testing.assert_allclose(layer.get_grad("hidden.W"), gradients["hidden"]["W"], rtol=1e-5)


def test_leaves_are_copied_as_the_initial_values() -> None:
    leaves = weights()
    layer = JaxWrapper(network, leaves).initialize()
    assert layer.get_param("out.1") == 1.5
    X, R = normal(4, 3, dtype="float32"), normal(4, 2, dtype="float32")
    train(layer, X, R, cb.SGD(0.1, grad_clip=0))
    gradients, _ = expected(X, R, weights())
    stepped = weights()["hidden"]["W"] - 0.1 * np.asarray(gradients["hidden"]["W"])
    np.testing.assert_allclose(layer.get_param("hidden.W"), stepped, rtol=1e-5)
    np.testing.assert_array_equal(leaves["hidden"]["W"], weights()["hidden"]["W"])


def test_update_copies_weights_only_for_a_pending_pass() -> None:
    """The matrices are large enough for JAX to read them without a copy."""
    W = normal(256, 256, dtype="float32")
    layer = JaxWrapper(lambda p, X: jnp.sin(X @ p), W).initialize()
    X, R = normal(8, 256, seed=1, dtype="float32"), normal(8, 256, seed=2, dtype="float32")
    _, pending = layer.begin_update(X)
    sgd = cb.SGD(0.5)
    train(layer, X, R, sgd)
    held = layer.get_param("params")
    dW, dX = expected(X, R, W, lambda p, X: jnp.sin(X @ p))
    np.testing.assert_allclose(pending(R), dX, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.get_grad("params"), dW, rtol=1e-4, atol=1e-5)
    layer.finish_update(sgd)
    del pending, held
    place = layer.get_param("params").ctypes.data
    train(layer, X, R, sgd)
    assert layer.get_param("params").ctypes.data == place


def test_gradients_of_passes_in_threads_are_summed() -> None:
    layer = JaxWrapper(network, weights()).initialize()
    X, R = normal(4, 3, dtype="float32"), normal(4, 2, seed=9, dtype="float32")
    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(lambda _: train(layer, X, R), range(20))]
    gradients, of_X = expected(X, R, weights())
    for _, dX in results:
        np.testing.assert_allclose(dX, of_X, rtol=1e-5)
    dW = 20 * gradients["hidden"]["W"]
    np.testing.assert_allclose(layer.get_grad("hidden.W"), dW, rtol=1e-5)


class Pair:
    """A custom pytree with its own keys."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


def test_parameters_are_named_by_the_keys_of_a_custom_pytree() -> None:
    jax.tree_util.register_pytree_with_keys(
        Pair,
        lambda pair: ((("one", pair.first), (jax.tree_util.GetAttrKey("two"), pair.second)), None),
        lambda _, leaves: Pair(*leaves),
    )
    layer = JaxWrapper(lambda p, X: X * p[0].first + p[0].second, [Pair(2.0, 1.0)]).initialize()
    assert layer.param_names == ("0.one", "0.two")
    assert layer.predict(np.ones(2, "f")).tolist() == [3, 3]


def test_saving_copying_and_averages_work() -> None:
    layer, sgd = JaxWrapper(network, weights()).initialize(), cb.Adam(0.1)
    X, R = normal(4, 3, dtype="float32"), normal(4, 2, dtype="float32")
    for _ in range(3):
        train(layer, X, R, sgd)
    Y = layer.predict(X)
    loaded = JaxWrapper(network, weights()).from_bytes(layer.to_bytes())
    np.testing.assert_array_equal(loaded.predict(X), Y)
    np.testing.assert_array_equal(layer.copy().predict(X), Y)
    with layer.use_params(sgd.averages):
        averaged = layer.predict(X)
        mean = {name: layer.get_param(name) for name in layer.param_names}
    assert not np.allclose(averaged, Y)
    tree = {
        "hidden": {"W": mean["hidden.W"], "b": mean["hidden.b"]},
        "out": (mean["out.0"], mean["out.1"]),
    }
    np.testing.assert_allclose(averaged, network(tree, X), rtol=1e-5)
    with raises(DimensionError, "hidden.W", "'jax'", "(3, 4)", "(3, 5)"):
        JaxWrapper(network, weights(nH=4)).from_bytes(layer.to_bytes())


def test_dropout_key_is_drawn_from_the_rng_of_the_pass() -> None:
    layer = JaxWrapper(masked, np.eye(50), dropout=True).initialize()
    X = np.ones((20, 50), "float32")
    Y, _ = layer.begin_update(X, drop=0.25, rng=np.random.default_rng(7))
    seed = np.random.default_rng(7).integers(2**32, dtype="uint32")
    np.testing.assert_allclose(Y, masked(np.eye(50, dtype="f"), X, jax.random.key(seed), 0.25))
    assert 0.2 < (Y == 0).mean() < 0.3
    np.testing.assert_array_equal(layer.predict(X), X)


def test_dicts_work_as_input_and_output() -> None:
    layer = JaxWrapper(lambda p, X: {"y": X["x"] * p, "z": X["x"] + 1}, 2.0).initialize()
    X = {"ids": np.array([1, 2]), "x": np.ones((2, 2), "f")}
    Y, backprop = layer.begin_update(X)
    dX = backprop({"y": Y["y"], "z": np.zeros((2, 2), "f")})
    assert dX["ids"] is None
    np.testing.assert_array_equal(dX["x"], np.full((2, 2), 4.0))
    assert layer.get_grad("params") == 8


@pytest.mark.parametrize("idx", [0, 1])
def test_gradient_of_none_counts_as_zeros(idx: int) -> None:
    layer = JaxWrapper(lambda W, X: (X @ W, jnp.sin(X @ W), None), normal(3, 2)).initialize()
    Y, backprop = layer.begin_update(normal(4, 3, dtype="float32"))
    dY = [np.ones_like(y) for y in Y[:2]]
    zeros = [y if i == idx else y * 0 for i, y in enumerate(dY)]
    expected = backprop((*zeros, None))
    dW = layer.get_grad("params")
    found = backprop((*(y if i == idx else None for i, y in enumerate(dY)), None))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(layer.get_grad("params"), 2 * dW)


def test_function_is_compiled_once_per_shape() -> None:
    traced = []

    def apply(params: Any, X: Any) -> Any:
        traced.append(X.shape)
        return X * params

    layer, sgd = JaxWrapper(apply, 2.0).initialize(), cb.SGD(0.1)
    for n in (3, 3, 4, 3, 4):
        X = np.ones((n, 2), "float32")
        train(layer, X, X, sgd)
        train(layer.copy(), X, X, sgd)
    assert traced == [(3, 2), (4, 2)]


def test_widths_are_checked_and_inferred_for_neighbours() -> None:
    X = normal(4, 3, dtype="float32")
    assert (JaxWrapper(network, weights()) >> cb.Linear(7)).initialize(X).predict(X).shape == (4, 7)
    told = cb.Linear() >> JaxWrapper(network, weights(), nI=3, nO=2) >> cb.Linear(7)
    assert told.initialize(normal(4, 9)).layers[0].get_dim("nO") == 3
    assert told.layers[2].get_dim("nI") == 2
    with raises(DimensionError, "linear", "nO=4", "jax", "3"):
        cb.Linear(4) >> JaxWrapper(network, weights(), nI=3)
    with raises(DimensionError, "jax", "nI=3", "4"):
        JaxWrapper(network, weights(), nI=3).initialize(normal(2, 4))
    with raises(DimensionError, "jax", "nI=3", "float32"):
        told.layers[1].predict(normal(4, 4, dtype="float32"))


@pytest.mark.parametrize("dims", [{}, {"nI": 3, "nO": 2}])
def test_resizing_fails(dims: Any) -> None:
    layer = JaxWrapper(network, weights(), **dims).initialize()
    with pytest.raises(DimensionError):
        layer.resize_output(5)
    with pytest.raises(DimensionError):
        layer.resize_input(5)
    grown = (cb.Linear(3, 6) >> JaxWrapper(network, weights(), **dims)).initialize()
    assert grown.resize_input(8).predict(normal(4, 8, dtype="float32")).shape == (4, 2)


def ints(params: Any, X: Any) -> Any:
    return (X * params).astype("int32")


def test_integer_output_works_only_in_predict() -> None:
    layer = JaxWrapper(ints, 2.0).initialize()
    assert layer.predict(np.ones(3, "float32")).tolist() == [2, 2, 2]
    with raises(InputError, "int32", "floats", "'jax'"):
        layer.begin_update(np.ones(3, "float32"))


@pytest.mark.parametrize(
    ("params", "X", "words"),
    [
        ((), np.ones(2), "float32 ... float64 ... jax_enable_x64"),
        (1.0, np.ones(2), "float32 ... float64"),
        ((), (np.zeros(2, "uint64"),), "uint32 ... uint64"),
        ((), cb.Ragged(np.ones((2, 1), "f"), [1, 1]), "Ragged ... with_array"),
        ((), "text", "str"),
        ((), np.array(["text"]), "<U4"),
    ],
)
def test_input_that_jax_would_convert_fails(params: Any, X: Any, words: str) -> None:
    with raises(InputError, words):
        JaxWrapper(lambda p, X: X, params).initialize().predict(X)


def test_float64_weights_fail_without_jax_enable_x64() -> None:
    layer = JaxWrapper(lambda p, X: p[X], normal(6, 3)).initialize(dtype="float64")
    with raises(InputError, "jax", "float32", "float64", "jax_enable_x64"):
        layer.predict(np.array([1, 5]))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"steps": np.array(3)}, "int64 ... steps"),
        ({"W": np.zeros((0, 3))}, "(0, 3) ... W"),
        ({"a.b": np.ones(1), "a": {"b": np.ones(1)}}, "a.b"),
    ],
)
def test_invalid_parameters_fail(params: Any, words: str) -> None:
    with raises(InputError, words):
        JaxWrapper(network, params)


@pytest.mark.parametrize("apply", [3, cb.Linear()])
def test_apply_must_be_a_function(apply: Any) -> None:
    with raises(InputError, "mine", "apply"):
        JaxWrapper(apply, (), name="mine")


def test_half_precision_leaves_become_float32() -> None:
    layer = JaxWrapper(lambda p, X: X * p, jnp.ones(3, "bfloat16")).initialize()
    assert layer.predict(np.ones((2, 3), "float32")).dtype == np.float32


@pytest.mark.usefixtures("float64", "strict")
def test_with_cpu_keeps_the_layer_on_the_cpu() -> None:
    layer, gpu = JaxWrapper(network, weights(), nI=3, nO=2), cb.CupyOps(0)
    check_device(cb.Linear(3) >> cb.with_cpu(layer) >> cb.Linear(2), normal(4, 6), gpu)
    with raises(DeviceError, "jax", "with_cpu"):
        layer.initialize().to_gpu(0).predict(gpu.asarray(normal(4, 3, dtype="float32")))

"""Public methods of a model: passes, initialization, dims, parameters, the tree."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, InputError, StateError
from combinet.testing import check_layer
from helpers.errors import raises
from helpers.models import averages_of, named_params, params_of


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def same(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


# -- passes ------------------------------------------------------------------------------------


def test_linear_matches_its_formula() -> None:
    model = cb.Linear(2, 3).initialize()
    X, dY = floats(5, 3), floats(5, 2, seed=1)
    W, b = model.get_param("W"), model.get_param("b")
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    np.testing.assert_allclose(Y, X @ W.T + b, rtol=1e-6)
    np.testing.assert_allclose(dX, dY @ W, rtol=1e-5)
    np.testing.assert_allclose(model.get_grad("W"), dY.T @ X, rtol=1e-5)
    np.testing.assert_allclose(model.get_grad("b"), dY.sum(axis=0), rtol=1e-5)


def test_backprop_accumulates_gradients_until_finish_update() -> None:
    model = cb.Linear(1, 1, init_W=cb.ones).initialize()
    X, dY = np.ones((1, 1), "f"), np.ones((1, 1), "f")
    for _ in range(2):
        model.begin_update(X)[1](dY)
    assert model.get_grad("W").item() == 2
    model.finish_update(cb.SGD(0.25, grad_clip=0))
    assert model.get_param("W").item() == 0.5
    assert not model.has_grad("W")
    with raises(StateError, "W"):
        model.get_grad("W")


def test_finish_update_skips_parameters_without_gradient() -> None:
    one, two = cb.Linear(2, 2), cb.Linear(2, 2)
    model = (one >> two).initialize()
    before = one.get_param("W").copy()
    two.begin_update(floats(3, 2))[1](floats(3, 2))
    model.finish_update(cb.SGD(0.1, L2=0.5))
    assert np.array_equal(one.get_param("W"), before)


def test_get_grad_returns_a_copy() -> None:
    model = cb.Linear(1, 1).initialize()
    model.begin_update(np.ones((1, 1), "f"))[1](np.ones((1, 1), "f"))
    model.get_grad("W")[...] = 9
    assert model.get_grad("W").item() == 1


def test_float64_gradient_of_a_float32_output_is_cast() -> None:
    model = cb.Linear(2, 3).initialize()
    dX = model.begin_update(floats(5, 3))[1](np.ones((5, 2)))
    assert dX.dtype == model.get_grad("W").dtype == np.float32


# -- dropout -----------------------------------------------------------------------------------


def test_drop_applies_only_to_dropout_layers_without_a_rate() -> None:
    X = np.ones((1000, 10))
    model = cb.Dropout() | cb.Dropout(0.3)
    zero_share = [(model.begin_update(X, drop=drop)[0] == 0) for drop in (0.0, 0.8)]
    assert not zero_share[0][:, :10].any()
    assert abs(zero_share[1][:, :10].mean() - 0.8) < 0.02
    for share in zero_share:
        assert abs(share[:, 10:].mean() - 0.3) < 0.02


def test_drop_applies_inside_wrappers() -> None:
    model = cb.with_flatten(cb.residual(cb.with_list(cb.with_array(cb.Dropout()))))
    Y, _ = model.begin_update([np.ones((50, 4)), np.ones((50, 4))], drop=0.5)
    assert set(np.unique(np.concatenate(Y))) == {1.0, 3.0}


def test_predict_applies_no_dropout() -> None:
    X = np.ones((100, 10))
    model = cb.with_array(cb.Dropout(0.5) >> cb.noop()) >> cb.Dropout()
    assert np.array_equal(model.predict(X), X)
    assert np.array_equal(model(X), X)


def test_each_pass_draws_its_dropout_mask_from_rng() -> None:
    X = np.ones((20, 20))
    Y1, Y2, Y3 = (
        cb.Dropout(0.5).begin_update(X, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    assert np.array_equal(Y1, Y2)
    assert not np.array_equal(Y1, Y3)
    model = cb.Dropout(0.5)
    assert not np.array_equal(model.begin_update(X)[0], model.begin_update(X)[0])


@pytest.mark.parametrize("seed", [0, 5])
def test_rng_accepts_a_seed(seed: int) -> None:
    X, layer = np.ones((20, 3)), cb.Dropout(0.5)
    expected = layer.begin_update(X, rng=np.random.default_rng(seed))[0]
    np.testing.assert_array_equal(layer.begin_update(X, rng=seed)[0], expected)


@pytest.mark.parametrize("drop", [-0.1, 1.0, 1.5, float("nan")])
def test_drop_out_of_range_fails(drop: float) -> None:
    with raises(InputError, drop):
        cb.Dropout().begin_update(np.ones(3), drop=drop)
    with raises(InputError, drop):
        cb.Dropout(drop)


# -- initialize --------------------------------------------------------------------------------


def test_initialize_returns_the_model() -> None:
    model = cb.Linear(2, 3)
    assert model.initialize() is model


def test_dims_are_inferred_from_neighbouring_layers() -> None:
    model = (cb.Linear(4, 3) >> cb.LayerNorm() >> cb.expand_window(1) >> cb.Maxout(2)).initialize()
    assert model.layers[1].get_dim("nI") == 4
    assert model.layers[3].get_dim("nI") == 12
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 2)
    first = cb.Linear(nI=3)
    (first >> cb.relu() >> cb.LayerNorm(4)).initialize()
    assert first.get_param("W").shape == (4, 3)


@pytest.mark.parametrize(
    "X",
    [
        floats(5, 3),
        [floats(2, 3), floats(1, 3)],
        cb.Ragged(floats(4, 3), [1, 3]),
        cb.list2padded().predict([floats(2, 3), floats(1, 3)]),
    ],
    ids=["array", "list", "ragged", "padded"],
)
def test_dims_are_inferred_from_a_sample_of_input(X: Any) -> None:
    model = cb.with_array(cb.Linear(2) | cb.noop()).initialize(X)
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 5)


def test_dims_are_inferred_from_a_sample_of_output() -> None:
    model = (cb.Embed(4, 10) >> cb.Linear(5) >> cb.Softmax()).initialize(Y=floats(2, 7))
    assert model.get_dim("nO") == 7


def test_dims_without_a_shape_rule_are_inferred_by_a_pass() -> None:
    def double(model: Any, X: Any, run: Any) -> Any:
        return np.concatenate([X, X], axis=1), lambda dY: dY[:, :3] + dY[:, 3:]

    mystery: Any = cb.Model("mystery", double)
    model = (mystery >> cb.Linear(2)).initialize(floats(4, 3))
    assert model.layers[1].get_dim("nI") == 6


def test_shape_inference_draws_no_dropout_mask() -> None:
    def build() -> Any:
        mystery: Any = cb.Model("mystery", lambda model, X, run: (X, lambda dY: dY))
        return cb.Dropout(0.5) >> mystery >> cb.Linear(2)

    sized = build()
    sized.layers[2].set_dim("nI", 3)
    from_sample = build().initialize(floats(4, 3), rng=1)
    assert same(params_of(from_sample), params_of(sized.initialize(rng=1)))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: cb.Linear(2), "linear ... nI"),
        (lambda: cb.Linear(2, 3) >> cb.Maxout(), "maxout ... nO"),
        (lambda: cb.Linear(2, 3) >> cb.Embed(2), "embed ... nV"),
    ],
)
def test_initialize_with_unknown_dims_fails_and_changes_nothing(build: Any, words: str) -> None:
    model = build()
    before = model.to_bytes()
    with raises(DimensionError, words):
        model.initialize()
    assert model.to_bytes() == before
    assert not params_of(model)


def test_sample_of_wrong_width_fails_and_changes_nothing() -> None:
    model = cb.Linear() >> cb.Linear(2, 4)
    before = model.to_bytes()
    with pytest.raises(DimensionError):
        model.initialize(floats(5, 3), floats(5, 7))
    assert model.to_bytes() == before


def test_failed_initialize_does_not_advance_the_generator() -> None:
    tried, fresh = (cb.Linear(2, 3) >> cb.Maxout() for _ in range(2))
    with pytest.raises(DimensionError):
        tried.initialize()
    Y = floats(1, 4)
    assert same(params_of(tried.initialize(Y=Y)), params_of(fresh.initialize(Y=Y)))


def test_float64_model_computes_in_float64_everywhere() -> None:
    model = (cb.Linear(4) >> cb.LayerNorm() >> cb.Maxout(3) >> cb.Softmax(2)).initialize(
        np.ones((2, 3)), dtype="float64"
    )
    optimizer = cb.Adam(0.01)
    Y, backprop = model.begin_update(np.ones((2, 3)))
    dX = backprop(np.ones((2, 2)), optimizer)
    assert Y.dtype == dX.dtype == model.predict(np.ones((2, 3))).dtype == np.float64
    assert {array.dtype for array in params_of(model).values()} == {np.dtype("float64")}
    assert {array.dtype for array in optimizer.averages.values()} == {np.dtype("float64")}


@pytest.mark.parametrize("dtype", ["int64", "float16", "complex128", "nonsense"])
def test_initialize_fails_for_unsupported_dtypes(dtype: str) -> None:
    with raises(InputError, "float32"):
        cb.Linear(1, 1).initialize(dtype=dtype)


def test_initialize_with_a_different_dtype_fails() -> None:
    model = cb.Linear(1, 1).initialize()
    with raises(StateError, "float32"):
        model.initialize(dtype="float64")


def test_seed_determines_the_initial_weights() -> None:
    a, b, c = (cb.Linear(4, 3) >> cb.Maxout(2) for _ in range(3))
    a.initialize(rng=7), b.initialize(rng=np.random.default_rng(7)), c.initialize(rng=8)
    assert same(params_of(a), params_of(b))
    assert not same(params_of(a), params_of(c))


def test_initialize_keeps_existing_weights() -> None:
    trained = cb.Linear(4, 3).initialize(rng=1)
    trained.begin_update(floats(2, 3))[1](floats(2, 4))
    before, waiting = trained.get_param("W").copy(), trained.get_grad("W")
    model = (trained >> cb.Linear(2)).initialize(rng=2)
    assert np.array_equal(trained.get_param("W"), before)
    assert np.array_equal(trained.get_grad("W"), waiting)
    assert model.layers[1].has_param("W")
    data = model.to_bytes()
    assert model.initialize(rng=3).to_bytes() == data


# -- dims and parameters -----------------------------------------------------------------------


def test_has_dim_is_true_none_or_false() -> None:
    model = cb.Maxout(4)
    assert model.has_dim("nO") is True
    assert model.has_dim("nI") is None
    assert model.has_dim("nP") is True
    assert model.has_dim("nV") is False


def test_combinator_dims_are_derived_from_its_layers() -> None:
    model = cb.with_array((cb.Linear(2, 3) | cb.LayerNorm()) >> cb.residual(cb.Linear()))
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 5)
    assert cb.noop().maybe_get_dim("nO") is None
    with raises(DimensionError, "nI"):
        cb.Linear(4).get_dim("nI")


def test_set_dim_sets_only_unknown_dims() -> None:
    model = cb.Linear(4)
    model.set_dim("nI", 3)
    model.set_dim("nI", 3)
    assert model.get_dim("nI") == 3
    with raises(DimensionError, "nI=3"):
        model.set_dim("nI", 5)
    with raises(DimensionError, "nV"):
        model.set_dim("nV", 5)


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", True])
def test_sizes_must_be_positive_ints(size: Any) -> None:
    with raises(DimensionError, "int"):
        cb.Linear(size)
    with raises(DimensionError, "int"):
        cb.Linear().set_dim("nO", size)


def fixed(size: int = 3) -> cb.Model[Any, Any]:
    """A layer with one parameter, named "model", of fixed length `size`."""

    def forward(model: Any, X: Any, run: Any) -> Any:
        (w,) = run.params(model, "model")

        def backprop(dY: Any) -> Any:
            run.inc_grad(model, model=(dY * X).sum(axis=0))
            return dY * w

        return X * w, backprop

    return cb.Model("fixed", forward, params={"model": cb.Param((size,), cb.ones)})


def test_param_axis_can_be_an_int_and_its_name_any_string() -> None:
    check_layer(fixed(), np.random.default_rng(0).normal(size=(4, 3)))
    model = fixed().initialize()
    assert model.get_param("model").tolist() == [1, 1, 1]
    with raises(DimensionError, "'fixed'", "(4,)", "(3,)"):
        fixed(4).from_bytes(model.to_bytes())
    with raises(DimensionError, "fixed", "width"):
        model.resize_output(4)


def test_has_param_is_true_none_or_false() -> None:
    model = cb.Linear(2, 3)
    assert model.has_param("W") is None
    assert model.has_param("Q") is False
    assert model.initialize().has_param("W") is True
    assert model.param_names == ("W", "b")


@pytest.mark.parametrize("call", ["get_param", "get_grad", "has_grad"])
def test_accessing_missing_parameters_fails(call: str) -> None:
    model = cb.Linear(2, 3)
    with raises(StateError, "initialized"):
        getattr(model, call)("W")
    with raises(StateError, "'W'", "'b'"):
        getattr(model, call)("Q")


def test_set_param_copies_the_value_and_checks_its_shape() -> None:
    model = cb.Linear(2, 1).initialize()
    value = np.array([[1.0], [2.0]])
    model.set_param("W", value)
    value[...] = 0
    assert model.get_param("W").tolist() == [[1.0], [2.0]]
    assert model.get_param("W").dtype == np.float32
    with raises(DimensionError, "(2, 1)", "(1, 2)"):
        model.set_param("W", [[1.0, 2.0]])


# -- the tree ----------------------------------------------------------------------------------


def tree() -> Any:
    return cb.chain(cb.Linear(4, 3) | cb.Relu(2, 3), cb.residual(cb.Linear(6)), cb.Softmax(5))


def test_walk_supports_three_orders() -> None:
    bfs = "chain concatenate residual softmax linear relu linear"
    dfs = "chain concatenate linear relu residual linear softmax"
    assert " ".join(node.name for node in tree().walk()) == bfs
    post = "linear relu concatenate linear residual softmax chain"
    assert " ".join(node.name for node in tree().walk("dfs_pre")) == dfs
    assert " ".join(node.name for node in tree().walk("dfs_post")) == post
    with pytest.raises(ValueError, match="bfs"):
        tree().walk("sideways").__next__()


def test_walk_yields_a_shared_layer_once() -> None:
    shared = cb.Linear(3, 3)
    model = cb.chain(shared, cb.residual(shared), shared)
    for order in ("bfs", "dfs_pre", "dfs_post"):
        assert [node.name for node in model.walk(order)].count("linear") == 1


def test_paths_name_every_layer_once() -> None:
    model = cb.chain(cb.Linear(3, 3), cb.residual(cb.Linear(3)), cb.Linear(3))
    assert [*model.paths()] == [
        "chain", "chain >> linear[0]", "chain >> residual", "chain >> residual >> linear",
        "chain >> linear[2]",
    ]  # fmt: skip
    assert model.paths()["chain >> linear[2]"] is model.layers[2]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def cast(X: Any) -> Any:
    return X.astype("float32"), lambda dY: dY.astype("float64")


def test_copy_shares_no_arrays_with_its_model() -> None:
    model = tree().initialize()
    model.begin_update(floats(2, 3))[1](floats(2, 5))
    twin = model.copy()
    assert same(params_of(twin), params_of(model))
    waiting = twin.layers[2].get_grad("W")
    assert np.array_equal(waiting, model.layers[2].get_grad("W"))
    model.finish_update(cb.SGD(0.5))
    assert np.array_equal(twin.layers[2].get_grad("W"), waiting)
    assert not any(
        np.shares_memory(layer.get_param(name), other.get_param(other_name))
        for _, layer, name in named_params(model)
        for _, other, other_name in named_params(twin)
    )
    twin.resize_output(9)
    assert model.get_dim("nO") == 5


def test_copy_keeps_averages() -> None:
    model, sgd = cb.Linear(2, 3).initialize(), cb.SGD(0.5)
    model.begin_update(floats(2, 3))[1](floats(2, 2), sgd)
    model.begin_update(floats(2, 3))[1](floats(2, 2), sgd)
    twin = model.copy()
    assert not np.array_equal(twin.averages[twin.id, "W"], twin.get_param("W"))
    assert np.array_equal(twin.averages[twin.id, "W"], model.averages[model.id, "W"])


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.copy(),
        lambda model: model.resize_output(3),
        lambda model: model._move(cb.NumpyOps()),
        pickled,
    ],
    ids=["copy", "resize", "move", "pickle"],
)
def test_layers_of_different_dtypes_keep_their_dtypes(change: Any) -> None:
    first, last = (cb.Linear(2, 2).initialize(dtype=dtype) for dtype in ("float64", "float32"))
    model, X = first >> cb.layerize(cast) >> last, np.ones((3, 2))
    model.begin_update(X)[1](np.ones((3, 2), "float32"), cb.SGD(0.1))
    before = model.predict(X)
    twin = change(model)
    np.testing.assert_allclose(twin.predict(X)[:, :2], before, rtol=1e-6)
    assert [twin.layers[i].dtype for i in (0, 2)] == ["float64", "float32"]
    assert {array.dtype for array in twin.averages.values()} == {np.dtype("d"), np.dtype("f")}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("initialized", [True, False])
def test_python_copies_of_a_layer_are_independent(duplicate: Any, initialized: bool) -> None:
    layer = cb.Linear(3, 3)
    if initialized:
        layer.initialize()
    twin, X = duplicate(layer), floats(2, 3)
    model = cb.chain(layer, twin, duplicate(layer)).initialize()
    assert repr(model).split().count("12") == 3
    if initialized:
        expected = twin.predict(X)
        assert np.array_equal(expected, layer.predict(X))
        layer.set_param("W", np.zeros((3, 3)))
        assert np.array_equal(twin.predict(X), expected)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copying_a_list_of_models_preserves_shared_layers(duplicate: Any) -> None:
    layer = cb.Linear(3, 3)
    model = cb.chain(layer, cb.Relu(3), cb.residual(layer)).initialize()
    twin_layer, twin = duplicate([layer, model])
    assert twin.layers[0] is twin.layers[2].layers[0] is twin_layer
    X = floats(2, 3)
    assert np.array_equal(twin.predict(X), model.predict(X))


def test_pickle_contains_weights_and_averages_but_no_gradients() -> None:
    model, sgd = tree().initialize(), cb.SGD(0.5)
    for optimizer in (sgd, sgd, None):
        model.begin_update(floats(2, 3))[1](floats(2, 5), optimizer)
    twin = pickled(model)
    assert same(params_of(twin), params_of(model))
    assert same(*(averages_of(each, each.averages) for each in (model, twin)))
    assert not twin.layers[2].has_grad("W")


def test_copy_duplicates_mutable_settings() -> None:
    attrs: Any = {"list": [1, [2]], "dict": {"a": [3]}, "array": np.ones(2), "function": floats}
    model: Any = cb.Model("model", lambda model, X, run: (X, lambda dY: dY), attrs=attrs)
    twin = model.copy()
    twin.attrs["list"][1].append(0)
    twin.attrs["dict"]["a"].append(0)
    twin.attrs["array"][0] = 0
    assert model.attrs["list"] == [1, [2]]
    assert model.attrs["dict"] == {"a": [3]}
    assert model.attrs["array"].tolist() == [1, 1]
    assert twin.attrs["function"] is floats


def test_copy_preserves_shared_layers() -> None:
    shared = cb.Linear(3, 3)
    twin = cb.chain(shared, cb.residual(shared), cb.Linear(3)).initialize().copy()
    assert twin.layers[0] is twin.layers[1].layers[0]
    assert twin.layers[0] is not shared
    assert twin.layers[0] is not twin.layers[2]


def test_repr_draws_the_tree_with_dims_and_sizes() -> None:
    shared = cb.Linear(3, 3)
    assert repr(cb.chain(shared, cb.residual(shared), cb.Softmax(2)).initialize()) == (
        "chain: 20 parameters\n"
        "  linear    nI=3 nO=3        12\n"
        "  residual\n"
        "    linear  nI=3 nO=3  (shared)\n"
        "  softmax   nI=3 nO=2         8"
    )
    assert repr(cb.Linear(2)) == "linear  nI=? nO=2: no parameters, not initialized"


def test_without_weights_keeps_layers_and_dims_and_can_be_pickled() -> None:
    model = cb.with_array(cb.HashEmbed(4, 10) >> cb.Maxout(3)) >> cb.list2ragged()
    X = [np.array([1, 2]), np.array([3])]
    model.initialize(X)
    bare = pickle.loads(pickle.dumps(model.without_weights()))
    assert not params_of(bare)
    assert bare.get_dim("nO") == 3
    loaded = bare.from_bytes(model.to_bytes())
    np.testing.assert_array_equal(loaded.predict(X).data, model.predict(X).data)

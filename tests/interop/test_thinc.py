"""combinet models inside Thinc and Thinc models inside combinet, compared with Thinc's layers."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers.errors import raises

thinc = pytest.importorskip("thinc.api")

import combinet as cb  # noqa: E402
from combinet.interop.thinc import from_thinc, resize_output, to_thinc  # noqa: E402
from combinet.testing import check_copy, check_interleaved, check_predict, check_saving  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype("float32")
DY = RNG.normal(size=(6, 2)).astype("float32")


def equal_models():
    """A model of two layers, its Thinc node, and a Thinc model with the same weights."""
    theirs = thinc.chain(thinc.Maxout(4, 3, nP=2), thinc.Linear(2, 4)).initialize()
    model = (cb.Maxout(4, 3, pieces=2) >> cb.Linear(2, 4)).initialize()
    for layer, node in zip(model.layers, theirs.layers, strict=True):
        for name in layer.param_names:
            layer.set_param(name, node.get_param(name))
    return model, to_thinc(model), theirs


def params(model):
    return [layer.get_param(name).copy() for layer in model.layers for name in layer.param_names]


def step(model, sgd, dY=DY):
    Y, backprop = model.begin_update(X)
    dX = backprop(dY.copy())
    model.finish_update(sgd)
    return Y, dX


OPTIMIZERS = {
    "adam": lambda: thinc.Adam(0.01),
    "decay": lambda: thinc.Adam(0.01, L2=0.1, L2_is_weight_decay=True, grad_clip=0.5),
    "L2": lambda: thinc.Adam(0.01, L2=0.1, L2_is_weight_decay=False),
    "radam": lambda: thinc.RAdam(0.01),
    "sgd": lambda: thinc.SGD(0.1, L2=0.0, grad_clip=1.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_and_averages_match_thinc(name):
    model, node, theirs = equal_models()
    sgd, reference = OPTIMIZERS[name](), OPTIMIZERS[name]()
    for _ in range(4):
        for ours, expected in zip(step(node, sgd), step(theirs, reference), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    for ours, expected in zip(params(model), params(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    plain = node.predict(X)
    with node.use_params(sgd.averages), theirs.use_params(reference.averages):
        averaged = node.predict(X)
        np.testing.assert_allclose(averaged, theirs.predict(X), rtol=1e-4, atol=1e-6)
        saved = node.to_bytes()
    assert not np.array_equal(averaged, plain)
    assert np.array_equal(node.predict(X), plain)
    other = to_thinc(cb.Maxout(pieces=2) >> cb.Linear()).from_bytes(saved)
    assert np.array_equal(other.predict(X), averaged)


def test_use_params_restores_the_weights_after_an_exception():
    _, node, _ = equal_models()
    sgd = thinc.Adam(0.1)
    step(node, sgd)
    plain = node.predict(X)
    with pytest.raises(KeyError), node.use_params(sgd.averages):
        raise KeyError
    assert np.array_equal(node.predict(X), plain)


def test_gradients_accumulate_until_the_update():
    _, node, theirs = equal_models()
    for model in (node, theirs):
        passes = [model.begin_update(X) for _ in range(2)]
        for _, backprop in passes:
            backprop(DY.copy())
        model.finish_update(thinc.SGD(0.1, L2=0.0, grad_clip=0.0))
    np.testing.assert_allclose(node.predict(X), theirs.predict(X), rtol=1e-4, atol=1e-6)


def test_optimizer_may_return_a_different_array():
    model, node, _ = equal_models()
    expected = [W - 1 for W in params(model)]
    step(node, lambda key, W, dW: (W - 1, dW))
    for W, after in zip(params(model), expected, strict=True):
        np.testing.assert_array_equal(W, after)


def test_optimizer_may_write_to_all_rows_of_a_sparse_gradient():
    model = cb.Embed(2, 5).initialize()
    node, rows = to_thinc(model), np.array([1, 3])
    before = model.get_param("E").copy()

    def spoil(key, W, dW):
        dW += 7
        return W, dW

    seen = []
    for sgd in (spoil, lambda key, W, dW: (W, seen.append(dW.copy()))):
        node.begin_update(rows)[1](np.ones((2, 2), "float32"))
        node.finish_update(sgd)
    np.testing.assert_array_equal(seen[0], np.isin(np.arange(5), rows)[:, None] * np.ones(2))
    assert np.array_equal(model.get_param("E"), before)


def test_optimizer_keeps_separate_moments_per_model():
    sgd = thinc.Adam(0.1)
    models = [to_thinc(cb.Linear(2, 3).initialize()) for _ in range(2)]
    for model in models:
        step(model, sgd)
    assert len(sgd.mom1) == 4
    assert not set(sgd.averages) & {(node.id, "W") for node in models}


def test_resize_restarts_the_optimizer_state():
    sgd = thinc.Adam(0.1)
    _, node, _ = equal_models()
    step(node, sgd)
    assert node.attrs["resize_output"](node, 3).get_dim("nO") == 3
    step(node, sgd, np.ones((6, 3), "float32"))
    with node.use_params(sgd.averages):
        assert node.predict(X).shape == (6, 3)


def test_set_dropout_rate_of_thinc_works():
    node = to_thinc(cb.Dropout())
    ones = np.ones((100, 10), "float32")
    thinc.set_dropout_rate(node, 0.5)
    Y, backprop = node.begin_update(ones)
    assert set(np.unique(Y)) == {0.0, 2.0}
    assert np.array_equal(backprop(ones), Y)
    assert np.array_equal(node.predict(ones), ones)
    thinc.set_dropout_rate(node, 0.0)
    assert np.array_equal(node.begin_update(ones)[0], ones)


def test_initialize_infers_dims_and_follows_thincs_seed():
    nodes = []
    for seed in (1, 1, 2):
        thinc.fix_random_seed(seed)
        inner = to_thinc(cb.Linear())
        inner.initialize(X, DY)
        nodes.append(inner)
    first, second, third = (node.predict(X) for node in nodes)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert (nodes[0].get_dim("nI"), nodes[0].get_dim("nO")) == (3, 2)


def by_pickle(node):
    return pickle.loads(pickle.dumps(node))


@pytest.mark.parametrize("clone", [lambda node: node.copy(), copy.deepcopy, by_pickle])
def test_copies_share_no_arrays(clone):
    _, node, _ = equal_models()
    before = node.predict(X)
    twin = clone(node)
    assert np.array_equal(twin.predict(X), before)
    ids = [{layer.id for layer in each.shims[0].model.walk()} for each in (node, twin)]
    assert not set.intersection(*ids)
    step(twin, thinc.SGD(1.0, L2=0.0))
    assert np.array_equal(node.predict(X), before)
    assert not np.array_equal(twin.predict(X), before)


def test_thinc_device_moves_reach_the_model(monkeypatch):
    model, node, _ = equal_models()
    moves = []
    for name in ("to_gpu", "to_cpu"):
        monkeypatch.setattr(model, name, lambda *device, name=name: moves.append((name, *device)))
    node.to_cpu()
    node.shims[0].to_device("gpu", 1)
    assert moves == [("to_cpu",), ("to_gpu", 1)]


def test_larger_thinc_model_loads_into_an_uninitialized_node(tmp_path):
    def build():
        return thinc.chain(to_thinc(cb.Linear() >> cb.relu()), thinc.Linear())

    model = build()
    resize_output(model.layers[0], 4)
    model.initialize(X, DY)
    assert model.to_bytes() == build().from_bytes(model.to_bytes()).to_bytes()
    model.to_disk(tmp_path / "model")
    loaded = build().from_disk(tmp_path / "model")
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert loaded.layers[0].get_dim("nO") == 4
    assert loaded.can_from_bytes(model.to_bytes())


def test_node_inside_a_chain_ignores_the_output_sample():
    middle = to_thinc(cb.relu())
    model = thinc.chain(thinc.Linear(4), middle, thinc.Linear()).initialize(X, DY)
    assert model.predict(X).shape == (6, 2)


def test_node_accepts_all_batch_types_of_thinc():
    linear = cb.Linear(2, 3).initialize()
    rows = linear.predict(X)
    lengths = np.array([4, 2], "int32")
    node = to_thinc(cb.with_array(linear))
    ragged, docs = thinc.Ragged(X, lengths), [X[:4], X[4:]]
    padded = thinc.list2padded()(docs, False)[0]
    for batch, convert in (
        (ragged, lambda Y: Y.dataXd),
        (docs, np.concatenate),
        (padded, lambda Y: np.concatenate(thinc.padded2list()(Y, False)[0])),
    ):
        Y, backprop = node.begin_update(batch)
        assert type(Y) is type(batch)
        np.testing.assert_allclose(convert(Y), rows, rtol=1e-6)
        np.testing.assert_allclose(
            convert(backprop(Y)), rows @ linear.get_param("W"), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("inside", [True, False])
def test_padded_keeps_thincs_order_of_equal_lengths(inside):
    padded = thinc.list2padded()([X[:2], X[2:4], X[4:6]], False)[0]
    rows = thinc.with_array(thinc.noop())
    layer = (
        to_thinc(cb.residual(from_thinc(rows))) if inside else to_thinc(cb.with_array(cb.noop()))
    )
    Y, backprop = thinc.residual(layer)(padded, True)
    times = 3 if inside else 2
    for found in (Y, backprop(thinc.list2padded()([X[:2], X[2:4], X[4:6]], False)[0])):
        assert found.indices.tolist() == [2, 1, 0]
        back = np.concatenate(thinc.padded2list()(found, False)[0])
        np.testing.assert_allclose(back, times * X, rtol=1e-6)


def test_from_thinc_fails_for_a_gradient_of_none():
    layer = from_thinc(thinc.tuplify(thinc.Linear(2, 3), thinc.Linear(2, 3)).initialize())
    _, backprop = layer.begin_update(X)
    with raises(cb.InputError, "gradient"):
        backprop((DY, None))


def test_gradient_of_ids_is_zeros_like_in_thinc():
    ids = np.array([1, 2], "uint64")
    node = to_thinc(cb.HashEmbed(2, 10).initialize())
    Y, backprop = node.begin_update(ids)
    assert np.array_equal(backprop(Y), [0, 0])


def test_passes_in_threads_match_thinc():
    _, node, theirs = equal_models()

    def work(_):
        Y, backprop = node.begin_update(X)
        return Y, backprop(DY)

    expected, backprop = theirs.begin_update(X)
    dX = backprop(DY.copy())
    with ThreadPoolExecutor(4) as pool:
        for Y, d in pool.map(work, range(20)):
            np.testing.assert_allclose(Y, expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(d, dX, rtol=1e-4, atol=1e-6)
    W = node.shims[0].model.layers[1].get_grad("b")
    np.testing.assert_allclose(W, 20 * DY.sum(axis=0), rtol=1e-4)


# -- from_thinc --------------------------------------------------------------------------------


def thinc_model():
    return thinc.chain(
        thinc.Mish(4, 3, normalize=True), thinc.residual(thinc.Maxout(4, 4)), thinc.Linear(2, 4)
    ).initialize()


def test_from_thinc_matches_the_thinc_model():
    theirs = thinc_model()
    layer = from_thinc(theirs)
    Y, backprop = layer.begin_update(X)
    expected, theirs_back = theirs.begin_update(X)
    assert np.array_equal(Y, expected)
    assert np.array_equal(backprop(DY), theirs_back(DY.copy()))
    named = {
        f"{i}.{n.name}.{p}": (n, p) for i, n in enumerate(theirs.walk()) for p in n.param_names
    }
    assert set(layer.param_names) == set(named)
    for name, (node, param) in named.items():
        np.testing.assert_array_equal(layer.get_grad(name), node.get_grad(param))


@pytest.mark.parametrize("check", [check_predict, check_saving, check_interleaved, check_copy])
def test_from_thinc_satisfies_the_invariant(check):
    check(from_thinc(thinc_model()), X)


def test_from_thinc_copies_the_model_and_can_be_trained():
    theirs = thinc_model()
    before = theirs.predict(X)
    layer = from_thinc(theirs)
    sgd = cb.SGD(0.1, grad_clip=0.0)
    layer.begin_update(X)[1](DY, sgd)
    assert np.array_equal(theirs.predict(X), before)
    theirs.begin_update(X)[1](DY.copy())
    theirs.finish_update(thinc.SGD(0.1, L2=0.0, grad_clip=0.0))
    np.testing.assert_allclose(layer.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)
    with layer.use_params(sgd.averages):
        assert not np.array_equal(layer.predict(X), before)


def test_drop_applies_only_to_nodes_without_a_rate():
    ones = np.ones((100, 10), "float32")
    free, fixed = from_thinc(thinc.Dropout(0.0)), from_thinc(thinc.Dropout(0.5))
    assert 0 in free.begin_update(ones, drop=0.2)[0]
    assert set(np.unique(fixed.begin_update(ones)[0])) == {0, 2}
    assert np.array_equal(free.begin_update(ones)[0], ones)
    assert np.array_equal(fixed.predict(ones), ones)


def test_to_thinc_and_from_thinc_can_be_nested():
    ids = np.array([3, 9, 3], "uint64")
    embed = thinc.HashEmbed(4, 20, seed=1).initialize()
    model = (from_thinc(embed) >> cb.relu() >> cb.Linear(2)).initialize()
    node = to_thinc(model)
    Y, backprop = node.begin_update(ids)
    assert np.array_equal(backprop(Y), [0, 0, 0])
    assert np.array_equal(Y, node.predict(ids))


def test_from_thinc_fails_for_wrong_widths_and_unsupported_models():
    linear = thinc.Linear(2, 3).initialize()
    with raises(cb.DimensionError, "nO=2", "linear", "5"):
        from_thinc(linear) >> cb.Linear(1, 5)
    with raises(cb.DimensionError, "nO=2"):
        from_thinc(linear).resize_output(4)
    with raises(cb.StateError, "linear", "W"):
        from_thinc(thinc.Linear(2, 3))
    with raises(cb.InputError, "shims"):
        from_thinc(to_thinc(cb.Linear(2, 3).initialize()))
    with raises(cb.InputError, "Thinc"):
        from_thinc(cb.relu())

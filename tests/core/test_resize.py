"""Resizing layers and trees, before and during training; a failed resize changes nothing."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import named_params, set_params
from helpers.optimizers import state_of

L = cb.Linear


def widths(model: Any) -> str:
    """The dims of all layers that declare some, depth-first."""
    dims = [node.dims for node in model.walk("dfs_pre") if node.dims]
    return " ".join(f"{d.get('nI', '-')}>{d['nO']}" if "nO" in d else f"{d['nI']}" for d in dims)


# For each layer with dims: a constructor and an input.
LEAVES = {
    "Linear": (lambda nO, nI: L(nO, nI), floats(5, 3)),
    "Relu": (lambda nO, nI: cb.Relu(nO, nI), floats(5, 3)),
    "Gelu": (lambda nO, nI: cb.Gelu(nO, nI), floats(5, 3)),
    "Maxout": (lambda nO, nI: cb.Maxout(nO, nI, pieces=2), floats(5, 3)),
    "Embed": (lambda nO, nI: cb.Embed(nO, 7), np.arange(5)),
    "HashEmbed": (lambda nO, nI: cb.HashEmbed(nO, 7), np.arange(5)),
}
WITH_INPUT = ["Linear", "Relu", "Gelu", "Maxout"]


def ready(name: str, nO: int = 4, nI: int = 3) -> tuple[Any, Any]:
    make, X = LEAVES[name]
    return make(nO, nI).initialize(dtype="float64"), X


@pytest.mark.parametrize("name", LEAVES)
def test_larger_output_keeps_old_columns_and_adds_zeros(name: str) -> None:
    model, X = ready(name)
    set_params(model, lambda W: floats(*W.shape))
    before = model.predict(X)
    assert model.resize_output(6) is model
    after = model.predict(X)
    assert np.array_equal(after[:, :4], before)
    assert (after[:, 4:] == 0).all()
    assert model.get_dim("nO") == 6


@pytest.mark.parametrize("name", LEAVES)
def test_smaller_output_drops_the_last_columns(name: str) -> None:
    model, X = ready(name)
    before = model.predict(X)
    assert np.array_equal(model.resize_output(3).predict(X), before[:, :3])


@pytest.mark.parametrize("name", WITH_INPUT)
def test_larger_input_ignores_new_columns(name: str) -> None:
    model, X = ready(name)
    before = model.predict(X)
    model.resize_input(5)
    wider = np.hstack([X, floats(5, 2)])
    np.testing.assert_allclose(model.predict(wider), before, rtol=1e-12)
    assert model.get_dim("nI") == 5


@pytest.mark.parametrize("name", WITH_INPUT)
def test_smaller_input_drops_the_last_weights(name: str) -> None:
    model, X = ready(name)
    X = np.hstack([X[:, :2], np.zeros((5, 1))])
    before = model.predict(X)
    np.testing.assert_allclose(model.resize_input(2).predict(X[:, :2]), before, rtol=1e-12)


def test_untrained_softmax_stays_uniform_after_resize() -> None:
    model = cb.Softmax(2, 3).initialize(dtype="float64").resize_output(4)
    assert np.array_equal(model.predict(floats(5, 3)), np.full((5, 4), 0.25))


def test_layers_with_only_nI_resize_input_and_output_together() -> None:
    norm = cb.LayerNorm(3).initialize().resize_output(5)
    assert norm.get_param("G").tolist() == [1, 1, 1, 0, 0]
    assert norm.resize_input(2).get_param("G").tolist() == [1, 1]
    attention = cb.ParametricAttention(3).initialize().resize_input(4)
    assert attention.get_param("Q").shape == (4,)
    assert attention.get_param("Q")[3] == 0


def chain_with_list() -> Any:
    return cb.with_flatten(cb.with_list(cb.with_array(L(3, 2))))


TREES = [
    ("chain", lambda: L(4, 3) >> cb.relu() >> L(2), "nO", 6, "3>4 4>6"),
    ("chain", lambda: L(4, 3) >> cb.relu() >> L(2), "nI", 6, "6>4 4>2"),
    ("activation-last", lambda: L(4, 3) >> cb.gelu(), "nO", 6, "3>6"),
    ("activation-first", lambda: cb.gelu() >> L(4, 3), "nI", 6, "6>4"),
    ("norm-last", lambda: L(4, 3) >> cb.LayerNorm(), "nO", 2, "3>2 2"),
    ("norm-first", lambda: cb.LayerNorm() >> L(4, 3), "nI", 2, "2 2>4"),
    ("concatenate", lambda: L(4, 3) | L(2, 3), "nO", 9, "3>4 3>5"),
    ("concatenate", lambda: L(4, 3) | L(2, 3), "nO", 5, "3>4 3>1"),
    ("concatenate", lambda: L(4, 3) | L(2, 3), "nI", 5, "5>4 5>2"),
    ("noop-first", lambda: cb.noop() | L(4, 3), "nO", 9, "3>6"),
    ("add", lambda: L(4, 3) + L(4, 3), "nO", 9, "3>9 3>9"),
    ("add", lambda: L(4, 3) + L(4, 3), "nI", 2, "2>4 2>4"),
    ("residual", lambda: cb.residual(L(3, 3)), "nO", 5, "5>5"),
    ("residual", lambda: cb.residual(L(4, 3) >> L(3)), "nI", 5, "5>4 4>5"),
    ("residuals", lambda: L(3, 2) >> cb.residual(L(3)) ** 2, "nO", 5, "2>5 5>5 5>5"),
    ("residuals", lambda: cb.residual(L(3)) ** 2 >> L(2, 3), "nI", 5, "5>5 5>5 5>2"),
    ("block", lambda: L(3, 2) >> cb.residual(cb.expand_window(1) >> L(3) >> cb.gelu()), "nO", 4,
        "2>4 12>4"),
    ("block", lambda: cb.residual(cb.gelu() >> L(5, 3) >> L(3)) >> L(2), "nI", 4, "4>5 5>4 4>2"),
    ("clone", lambda: L(3, 3) ** 3, "nO", 5, "3>3 3>3 3>5"),
    ("clone", lambda: L(3, 3) ** 3, "nI", 5, "5>3 3>3 3>3"),
    ("wrappers", chain_with_list, "nO", 5, "2>5"),
    ("wrappers", chain_with_list, "nI", 5, "5>3"),
    ("window", lambda: cb.expand_window(1) >> L(2, 9), "nI", 5, "15>2"),
    ("window", lambda: L(2, 9) >> cb.expand_window(1), "nO", 9, "9>3"),
    ("reduced", lambda: cb.with_array(L(3, 2)) >> cb.list2ragged() >> cb.ParametricAttention()
        >> cb.reduce_sum() >> cb.Softmax(2), "nO", 4, "2>3 3 3>4"),
    ("reduced", lambda: cb.with_array(L(3, 2)) >> cb.list2ragged() >> cb.ParametricAttention()
        >> cb.reduce_sum(), "nO", 4, "2>4 4"),
]  # fmt: skip


@pytest.mark.parametrize("initialized", [True, False])
@pytest.mark.parametrize(
    ("make", "end", "size", "expected"),
    [row[1:] for row in TREES],
    ids=[f"{name}-{end}={size}" for name, _, end, size, _ in TREES],
)
def test_resize_changes_all_dependent_dims(
    make: Any, end: str, size: int, expected: str, initialized: bool
) -> None:
    model = make()
    if initialized:
        model.initialize()
    model.resize_output(size) if end == "nO" else model.resize_input(size)
    assert widths(model) == expected
    assert model.get_dim(end) == size
    model.initialize()
    for node in model.walk():
        for name in node.param_names:
            assert node.get_param(name).shape == node.param_shape(name)


def test_resize_keeps_the_weights_of_other_layers() -> None:
    model = (L(4, 3) >> cb.relu() >> L(2)).initialize()
    before = model.layers[0].get_param("W")
    model.resize_output(6)
    assert np.array_equal(model.layers[0].get_param("W"), before)


def test_wider_residual_block_keeps_old_columns() -> None:
    model = (L(3, 2) >> cb.residual(L(3) >> cb.gelu())).initialize(dtype="float64")
    before = model.predict(floats(5, 2))
    after = model.resize_output(4).predict(floats(5, 2))
    np.testing.assert_allclose(after[:, :3], before, rtol=1e-12)
    assert (after[:, 3] == 0).all()


# -- during training ---------------------------------------------------------------------------


def options() -> list[Any]:
    return [
        lambda: cb.SGD(0.1, momentum=0.9, grad_clip=0),
        lambda: cb.Adam(0.1, grad_clip=0, L2=0.1),
        lambda: cb.Adam(0.1, grad_clip=0, L2=0.1, L2_is_weight_decay=False),
    ]


@pytest.mark.parametrize("make_optimizer", options())
@pytest.mark.parametrize(("start", "resized"), [(4, 6), (6, 4)], ids=["larger", "smaller"])
def test_resize_does_not_affect_training_of_the_other_columns(
    make_optimizer: Any, start: int, resized: int
) -> None:
    # The columns of a Linear are independent, so the others must not affect the first four.
    W, b = floats(6, 3), floats(6, seed=1)

    def begin(nO: int) -> tuple[Any, Any]:
        model = L(nO, 3).initialize(dtype="float64")
        model.set_param("W", W[:nO]), model.set_param("b", b[:nO])
        return model, make_optimizer()

    def step(model: Any, optimizer: Any, seed: int) -> None:
        Y, backprop = model.begin_update(floats(5, 3, seed=seed))
        backprop(floats(5, 6, seed=seed + 50)[:, : Y.shape[1]], optimizer)

    model, optimizer = begin(start)
    control, control_optimizer = begin(4)
    for seed in range(3):
        step(model, optimizer, seed)
        step(control, control_optimizer, seed)
    # A gradient accumulated before the resize is applied after it.
    step(model, None, 3), step(control, None, 3)
    model.resize_output(resized)
    model.finish_update(optimizer), control.finish_update(control_optimizer)
    for seed in range(4, 7):
        step(model, optimizer, seed)
        step(control, control_optimizer, seed)
    for name in ("W", "b"):
        np.testing.assert_allclose(
            model.get_param(name)[:4], control.get_param(name), rtol=1e-12, err_msg=name
        )
    assert optimizer.step == control_optimizer.step


@pytest.mark.parametrize("sparse", [False, True])
def test_resize_restarts_the_step_count_of_averages(sparse: bool) -> None:
    embed, layer = cb.Embed(3, 5), L(4, 3)
    model, optimizer = (embed >> layer).initialize(dtype="float64"), cb.Adam(0.1, sparse=sparse)
    means: dict[Any, Any] = {
        (node.id, name): node.get_param(name).copy() for _, node, name in named_params(model)
    }
    counts = dict.fromkeys(means, 0)

    def train(seeds: Any) -> None:
        for seed in seeds:
            Y, backprop = model.begin_update(np.arange(5))
            backprop(floats(*Y.shape, seed=seed), optimizer)
            for (node, name), mean in means.items():
                t = counts[node, name] = counts[node, name] + 1
                W = (embed if node == embed.id else layer).get_param(name)
                means[node, name] = mean + (1 - (1 + t) / (10 + t)) * (W - mean)

    train(range(20))
    embed.resize_output(4), layer.resize_input(4)
    for key in ((embed.id, "E"), (layer.id, "W")):  # not b
        means[key] = np.pad(means[key], ((0, 0), (0, 1)))
        counts[key] = 0
    train(range(20, 23))
    model.initialize()  # a new store keeps the counts
    train(range(23, 26))
    averages = optimizer.averages
    assert averages.keys() == means.keys()
    for key, mean in means.items():
        np.testing.assert_allclose(averages[key], mean, rtol=1e-12)


def test_resize_also_resizes_the_averages() -> None:
    model, optimizer = L(4, 3).initialize(dtype="float64"), cb.SGD(0.1)
    for seed in range(2):
        model.begin_update(floats(5, 3, seed=seed))[1](floats(5, 4), optimizer)
    before = optimizer.averages[model.id, "W"]
    model.resize_output(6)
    after = optimizer.averages[model.id, "W"]
    assert np.array_equal(after[:4], before)
    assert (after[4:] == 0).all()
    assert after.shape == model.averages[model.id, "W"].shape == (6, 3)
    with model.use_params(optimizer.averages):
        assert np.array_equal(model.get_param("W"), after)


def test_resize_also_resizes_accumulated_gradients() -> None:
    model = L(4, 3).initialize(dtype="float64")
    model.begin_update(floats(5, 3))[1](floats(5, 4))
    before = model.get_grad("W")
    after = model.resize_output(6).resize_input(2).get_grad("W")
    assert np.array_equal(after[:4], before[:, :2])
    assert (after[4:] == 0).all()


def test_backprop_of_a_pass_from_before_a_resize_fails() -> None:
    model = L(4, 3).initialize(dtype="float64")
    Y, backprop = model.begin_update(floats(5, 3))
    model.resize_output(6)
    with raises(DimensionError, "resized"):
        backprop(Y)
    assert not model.has_grad("W")


def test_new_column_can_be_trained() -> None:
    X = floats(50, 3)
    T = X @ floats(3, 2, seed=1)
    model, optimizer = L(1, 3).initialize(dtype="float64"), cb.Adam(0.1)
    model.resize_output(2)
    for _ in range(200):
        Y, backprop = model.begin_update(X)
        backprop((Y - T) / len(X), optimizer)
    np.testing.assert_allclose(model.predict(X), T, atol=0.01)


# -- failures ----------------------------------------------------------------------------------


def shared_with_a_square() -> Any:
    layer = L(3, 3)
    return layer >> cb.relu() >> layer


@pytest.mark.parametrize(
    ("make", "end", "size"),
    [
        (lambda: L(4, 3), "nO", 0),
        (lambda: L(4, 3), "nI", -1),
        (lambda: L(4, 3), "nO", 2.5),
        (lambda: L(4, 3), "nO", "5"),
        (lambda: cb.Embed(3, 5), "nI", 4),
        (lambda: L(4, 3) | L(2, 3), "nO", 4),
        (lambda: L(4, 3) | cb.noop(), "nO", 9),
        (lambda: L(3, 2) >> (cb.noop() | cb.noop()), "nO", 7),
        (lambda: L(2, 9) >> cb.expand_window(1), "nO", 10),
        (shared_with_a_square, "nO", 4),
        (shared_with_a_square, "nI", 4),
    ],
)
def test_invalid_resize_fails_and_changes_nothing(make: Any, end: str, size: Any) -> None:
    model = make().initialize()
    before, dims = model.to_bytes(), widths(model)
    with pytest.raises(DimensionError):
        model.resize_output(size) if end == "nO" else model.resize_input(size)
    assert model.to_bytes() == before
    assert widths(model) == dims


def check_outputs_are_kept(model: Any, X: Any, resize: Any) -> None:
    """Checks that resizing to more columns keeps the old outputs for old inputs."""
    before = model.predict(X)
    resize(model)
    after = model.predict(np.pad(X, ((0, 0), (0, model.get_dim("nI") - X.shape[1]))))
    np.testing.assert_allclose(after[:, : before.shape[1]], before, rtol=1e-12)
    assert (after[:, before.shape[1] :] == 0).all()


def test_weights_after_a_window_stay_with_their_columns() -> None:
    X = np.random.default_rng(0).normal(size=(5, 2))
    inner = cb.residual(cb.expand_window(1) >> cb.Linear(3))
    model = (cb.Linear(3, 2) >> inner).initialize(dtype="float64")
    check_outputs_are_kept(model, X, lambda m: m.resize_output(4))


def test_weights_after_a_concatenation_stay_with_their_columns() -> None:
    X = np.random.default_rng(0).normal(size=(5, 2))
    sides = cb.noop() | cb.relu() | cb.Linear(3, 2)
    model = (sides >> cb.Dropout() >> cb.Linear(4)).initialize(dtype="float64")
    check_outputs_are_kept(model, X, lambda m: m.resize_input(3))


def test_weights_in_nested_concatenations_stay_with_their_columns() -> None:
    X = np.random.default_rng(0).normal(size=(5, 3))
    inner = cb.residual(L(5, 5) >> cb.residual(L(1, 5) | L(4, 5)))
    model = ((L(2, 3) | L(3, 3)) >> inner).initialize(dtype="float64")
    check_outputs_are_kept(model, X, lambda m: m.resize_input(4))
    model = ((L(1, 3) | L(2, 3) | L(2, 3)) >> inner.copy()).initialize(dtype="float64")
    check_outputs_are_kept(model, X, lambda m: m.resize_input(7))


def tree(rng: Any, nI: int, depth: int) -> tuple[Any, int]:
    """A random model with nI input columns, and its number of output columns."""
    kind, n = rng.integers(0, 8 if depth else 2), int(rng.integers(1, 4))
    if kind == 0:
        return L(n, nI), n
    if kind == 1:
        return cb.gelu(), nI
    one, size = tree(rng, nI, depth - 1)
    if kind == 2:
        return one >> cb.expand_window(1), 3 * size
    if kind == 3:
        return cb.residual(one >> L(nI, size)), nI
    other, width = tree(rng, nI if kind > 5 else size, depth - 1)
    if kind == 6:
        return one | other, size + width
    return (one + (other >> L(size, width)), size) if kind == 7 else (one >> other, width)


@pytest.mark.parametrize("end", ["nI", "nO"])
def test_resize_keeps_the_outputs_of_random_trees(end: str) -> None:
    resized = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        nI = int(rng.integers(1, 4))
        model, nO = tree(rng, nI, 3)
        model = model >> L(nO, nO) if end == "nI" else L(nI, nI) >> model
        model.initialize(rng=rng, dtype="float64")
        X = rng.normal(size=(4, nI))
        before = model.predict(X)
        try:
            model.resize_input(nI + 2) if end == "nI" else model.resize_output(nO + 2)
        except DimensionError:
            continue  # the width depends on columns that cannot change independently
        after = model.predict(np.pad(X, ((0, 0), (0, 2))) if end == "nI" else X)
        columns = iter(after.T)  # contains the old columns in order, with new ones between
        assert all(any(np.allclose(old, new) for new in columns) for old in before.T), seed
        resized += 1
    assert resized > 50


@pytest.mark.parametrize("front", [cb.noop() | cb.noop(), (cb.noop() | cb.noop()) >> cb.gelu()])
def test_resize_input_fails_if_columns_are_ambiguous(front: Any) -> None:
    model = (front >> L(3, 8)).initialize()
    before = model.to_bytes()
    with raises(DimensionError, "linear", "W"):
        model.resize_input(3)
    assert model.to_bytes() == before


def test_optimizer_moments_after_a_window_stay_with_their_columns() -> None:
    X = np.random.default_rng(0).normal(size=(5, 2))
    model = cb.residual(cb.expand_window(1) >> cb.Linear(2)).initialize(X, dtype="float64")
    sgd = cb.Adam(0.1, grad_clip=0)
    Y, backprop = model.begin_update(X)
    backprop(np.ones_like(Y), sgd)
    linear = model.layers[0].layers[1]
    first = state_of(sgd, linear)["linear.W"]["first"]
    model.resize_output(3)
    moved = state_of(sgd, linear)["linear.W"]["first"]
    np.testing.assert_array_equal(moved[:2, [0, 1, 3, 4, 6, 7]], first)
    assert (moved[:, [2, 5, 8]] == 0).all()


@pytest.mark.parametrize("make", [cb.relu, cb.noop, cb.Dropout, cb.expand_window])
def test_resize_fails_for_a_layer_without_dims(make: Any) -> None:
    with raises(cb.DimensionError, make().name):
        make().resize_output(6)

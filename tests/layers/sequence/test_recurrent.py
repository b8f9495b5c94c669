"""LSTM, GRU, RNN and bidirectional: against PyTorch with equal weights; widths; resizing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.batches.convert import ragged_to_list
from combinet.batches.padded import padded_to_ragged
from combinet.batches.structure import map_arrays
from combinet.ops.backends import default_ops
from combinet.ops.recurrent import steps
from helpers.arrays import floats, listed, padded, ragged
from helpers.errors import raises
from helpers.load_torch import gradients, leaves, load_torch

LENGTHS = [(3, 1, 4, 2), (5,), (1,), (1, 1, 1), (3, 3), (2, 6)]
INPUT_KINDS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "LSTM": (cb.LSTM, {}),
    "GRU": (cb.GRU, {}),
    "RNN-tanh": (cb.RNN, {}),
    "RNN-relu": (cb.RNN, {"nonlinearity": "relu"}),
    "LSTM-no-bias": (cb.LSTM, {"bias": False}),
    "GRU-no-bias": (cb.GRU, {"bias": False}),
    "RNN-no-bias": (cb.RNN, {"bias": False}),
}
NI, NO = 3, 4


def pair(torch: Any, kind: str, bi: bool, depth: int) -> tuple[Any, Any]:
    """Returns a combinet layer and a PyTorch module with the same weights."""
    make, options = INPUT_KINDS[kind]
    layer = make(NO, NI, bi=bi, depth=depth, **options).initialize(dtype="float64")
    torch.manual_seed(5)
    shape = {"num_layers": depth, "bidirectional": bi, "dtype": torch.float64}
    make_torch = getattr(torch.nn, kind.partition("-")[0])
    module = make_torch(NI, NO // 2 if bi else NO, **shape, **options)
    load_torch(layer, module)
    return layer, module


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("bi", [False, True], ids=["one-way", "bi"])
@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_output_and_gradients_match_pytorch(
    kind: str, bi: bool, depth: int, lengths: tuple[int, ...]
) -> None:
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    layer, module = pair(torch, kind, bi, depth)
    X = listed(*lengths, width=NI)
    R = [floats(n, NO, seed=9 + i) for i, n in enumerate(lengths)]
    model = cb.with_padded(layer)
    Y, backprop = model.begin_update(X)
    dX = backprop(R)

    inputs = [torch.tensor(x, requires_grad=True) for x in X]
    packed, _ = module(rnn.pack_sequence(inputs, enforce_sorted=False))
    outputs = rnn.unpack_sequence(packed)
    torch.autograd.backward(outputs, [torch.tensor(r) for r in R])

    close = {"rtol": 1e-9, "atol": 1e-9}
    for found, expected in zip(Y, outputs, strict=True):
        np.testing.assert_allclose(found, expected.detach(), **close)
    for found, expected in zip(dX, inputs, strict=True):
        np.testing.assert_allclose(found, expected.grad, **close)
    for name, found, expected in gradients(layer, module):
        np.testing.assert_allclose(found, expected, err_msg=name, **close)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN-tanh"])
def test_recurrent_weights_receive_a_gradient(kind: str) -> None:
    make, options = INPUT_KINDS[kind]
    model = make(NO, NI, bi=True, **options).initialize(dtype="float64")
    Y, backprop = model.begin_update(padded(3, 2, width=NI))
    backprop(map_arrays(Y, np.ones_like))
    assert all(np.abs(node.get_grad("U")).min() > 0 for node in leaves(model))


@pytest.mark.parametrize("ops", [cb.NumpyOps(), default_ops()], ids=["numpy", "default"])
@pytest.mark.parametrize("lengths", [(9, 30, 30, 2), (40,), (1,)], ids=str)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN-tanh"])
def test_float32_matches_float64(kind: str, lengths: tuple[int, ...], ops: cb.Ops) -> None:
    make, options = INPUT_KINDS[kind]
    exact = make(32, 8, bi=True, **options).initialize(rng=1, dtype="float64")
    model = make(32, 8, bi=True, **options).initialize(rng=1, dtype="float32")
    model._move(ops)
    X = padded(*lengths, width=8)
    X = cb.Padded(X.data * 3, X.size_at_t, X.lengths, X.indices)  # large enough to saturate gates
    Y, backprop = exact.begin_update(X)
    R = floats(*Y.data.shape)
    dX = backprop(map_arrays(Y, lambda _: R))
    Y32, backprop32 = model.begin_update(map_arrays(X, lambda x: x.astype("float32")))
    dX32 = backprop32(map_arrays(Y32, lambda _: R.astype("float32")))
    assert Y32.data.dtype == dX32.data.dtype == np.float32
    np.testing.assert_allclose(Y32.data, Y.data, atol=2e-6)
    np.testing.assert_allclose(dX32.data, dX.data, atol=2e-5)
    for ours, theirs in zip(leaves(model), leaves(exact), strict=True):
        for name in ours.param_names:
            largest = np.abs(theirs.get_grad(name)).max()
            np.testing.assert_allclose(
                ours.get_grad(name), theirs.get_grad(name), atol=1e-6 * largest, rtol=1e-5
            )


def test_saturated_gates_stay_finite_in_float32() -> None:
    model = cb.LSTM(4, 3).initialize()
    X = map_arrays(padded(3, 2), lambda x: (x * 1e6).astype("float32"))
    Y, backprop = model.begin_update(X)
    assert np.isfinite(Y.data).all()
    assert np.abs(Y.data).max() <= 1
    assert np.isfinite(backprop(Y).data).all()
    bad = map_arrays(X, lambda x: x * np.float32("nan"))
    real = model.predict(bad).data[0]
    assert np.isnan(real).all()


def test_padding_does_not_affect_outputs_and_gradients() -> None:
    model = cb.LSTM(4, 3, bi=True, depth=2).initialize(dtype="float64")
    X = padded(3, 1, 2)
    noisy = X.data.copy()
    for t, n in enumerate(X.size_at_t):
        noisy[t, n:] = 7.0
    Y, backprop = model.begin_update(X)
    Z, backprop2 = model.begin_update(map_arrays(X, lambda _: noisy))
    np.testing.assert_array_equal(Z.data, Y.data)
    dX = backprop(Y)
    noise = np.where(noisy[..., :1] == 7.0, 3.0, Y.data)
    np.testing.assert_array_equal(backprop2(map_arrays(Y, lambda _: noise)).data, dX.data)
    for t, n in enumerate(X.size_at_t):
        assert not Y.data[t, n:].any()
        assert not dX.data[t, n:].any()


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize("bi", [False, True])
def test_batch_matches_its_sequences_one_by_one(kind: str, bi: bool) -> None:
    make, options = INPUT_KINDS[kind]
    model = cb.with_padded(make(NO, NI, bi=bi, **options)).initialize(dtype="float64")
    X = ragged(2, 0, 5, 1, 5)
    Y = model.predict(X)
    assert Y.lengths.tolist() == [2, 0, 5, 1, 5]
    for i in range(5):
        np.testing.assert_allclose(Y[i].data, model.predict(X[i]).data, atol=1e-12)
    for one, other in zip(model.predict(ragged_to_list(X)), ragged_to_list(Y), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("lengths", [(), (0,), (0, 0)], ids=str)
def test_batch_without_rows_has_empty_output_and_gradient(lengths: tuple[int, ...]) -> None:
    model = cb.LSTM(4, 3, bi=True).initialize(dtype="float64")
    Y, backprop = model.begin_update(padded(*lengths))
    assert Y.data.shape == (0, len(lengths), 4)
    assert backprop(Y).data.shape == (0, len(lengths), 3)
    assert not leaves(model)[0].get_grad("U").any()


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_lists_ragged_and_padded_give_equal_results(kind: str, lengths: tuple[int, ...]) -> None:
    make, options = INPUT_KINDS[kind]
    model = make(NO, NI, bi=True, depth=2, **options).initialize(dtype="float64")
    X = listed(*lengths, width=NI)
    results = []
    for there, back in ((cb.noop(), cb.noop()), (cb.list2ragged(), cb.ragged2list()),
                        (cb.list2padded(), cb.padded2list())):  # fmt: skip
        Y, backprop = (there >> model >> back).begin_update(X)
        results.append((np.vstack(Y), np.vstack(backprop([y**2 for y in Y]))))
    for Y, dX in results[1:]:
        np.testing.assert_allclose(Y, results[0][0], atol=1e-12)
        np.testing.assert_allclose(dX, results[0][1], atol=1e-12)


def test_nested_bidirectional_matches_separate_directions() -> None:
    inner = cb.bidirectional(cb.LSTM(2, NI))
    outer = cb.bidirectional(inner).initialize(dtype="float64")
    plain = cb.bidirectional(*(cb.chain(cb.noop(), layer) for layer in outer.layers))
    X = padded(3, 1, 4, width=NI)
    np.testing.assert_allclose(outer.predict(X).data, plain.predict(X).data, atol=1e-12)


# -- bidirectional ---------------------------------------------------------------------------


def _running_sum(model: Any, X: cb.Padded, run: Any) -> Any:
    real = np.arange(len(X.size_at_t))[:, None, None] < X.lengths[:, None]

    def backprop(dY: cb.Padded) -> cb.Padded:
        return map_arrays(dY, lambda d: (d * real)[::-1].cumsum(axis=0)[::-1])

    return map_arrays(X, lambda x: x.cumsum(axis=0) * real), backprop


def test_bidirectional_reverses_each_sequence_within_its_length() -> None:
    X = [floats(n, 2, seed=n) for n in (3, 1, 4)]
    model = cb.with_padded(cb.bidirectional(cb.Model("sum", _running_sum, accepts="padded")))
    Y, backprop = model.begin_update(X)
    R = [floats(n, 4, seed=7) for n in (3, 1, 4)]
    for x, y, r, dx in zip(X, Y, R, backprop(R), strict=True):
        expected = np.hstack([x.cumsum(axis=0), x[::-1].cumsum(axis=0)[::-1]])
        np.testing.assert_allclose(y, expected, atol=1e-12)
        forth = r[::-1, :2].cumsum(axis=0)[::-1]
        np.testing.assert_allclose(dx, forth + r[:, 2:].cumsum(axis=0), atol=1e-12)


def test_bidirectional_copies_its_layer() -> None:
    layer = cb.LSTM(2, 3).initialize()
    model = cb.bidirectional(layer)
    assert model.layers[0] is layer
    assert model.layers[1].id != layer.id
    np.testing.assert_array_equal(model.layers[1].get_param("W"), layer.get_param("W"))


def test_directions_have_different_initial_weights() -> None:
    forth, back = leaves(cb.LSTM(4, 3, bi=True).initialize())
    assert not np.array_equal(forth.get_param("W"), back.get_param("W"))


def test_bidirectional_adds_the_widths_of_its_layers() -> None:
    model = cb.bidirectional(cb.LSTM(2), cb.GRU(3)).initialize(padded(2, 1), dtype="float64")
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 5)
    assert model.predict(padded(2, 1)).data.shape == (2, 2, 5)


def test_bidirectional_fails_if_a_layer_does_not_return_padded() -> None:
    layer = cb.Model("flat", lambda model, X, run: (padded_to_ragged(X), None))
    with raises(cb.InputError, "Padded", "[2, 1]"):
        cb.bidirectional(layer).predict(padded(2, 1))


# -- widths ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_widths_are_inferred_through_a_stack(kind: str) -> None:
    make, options = INPUT_KINDS[kind]
    model = cb.with_padded(make(6, bi=True, depth=2, **options)) >> cb.with_array(cb.Softmax(5))
    X = listed(2, 3, width=7)
    model.initialize(X)
    assert (model.get_dim("nI"), model.get_dim("nO")) == (7, 5)
    sizes = [(node.get_dim("nI"), node.get_dim("nO")) for node in leaves(model)]
    assert sizes == [(7, 3), (7, 3), (6, 3), (6, 3), (6, 5)]


def test_inferred_output_width_is_split_between_directions() -> None:
    model = cb.LSTM(bi=True) >> cb.with_array(cb.Linear(2, 8))
    assert [node.dims["nO"] for node in leaves(model.initialize(padded(2, 1)))] == [4, 4, 2]


@pytest.mark.parametrize("make", [cb.LSTM, cb.GRU, cb.RNN])
def test_invalid_settings_and_input_are_refused(make: Any) -> None:
    name = make.__name__.lower()
    with raises(cb.DimensionError, name, "nO", "5"):
        make(5, 3, bi=True)
    for depth in (0, 1.5):
        with raises(cb.InputError, name, "depth", depth):
            make(4, 3, depth=depth)
    with raises(cb.InputError, "dropout"):
        make(4, 3, dropout=1.5)
    model = make(4, 3).initialize()
    with raises(cb.InputError, name, "floats"):
        model.predict(map_arrays(padded(2, 1), lambda x: x.astype(int)))
    with raises(cb.InputError, name, "floats"):
        model.predict(floats(2, 1, 3))
    with raises(cb.DimensionError, name, "nI=3"):
        model.predict(map_arrays(padded(2, 1, width=2), lambda x: x.astype("float32")))


def test_two_directions_need_an_even_width() -> None:
    with raises(cb.DimensionError, "nO", "5"):
        cb.LSTM(bi=True) >> cb.with_array(cb.Linear(2, 5))


def test_rnn_refuses_other_nonlinearities() -> None:
    with raises(cb.InputError, "'tanh'", "'relu'", "'sigmoid'"):
        cb.RNN(2, nonlinearity="sigmoid")


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize(("bi", "kept"), [(False, [0, 1, 2, 3]), (True, [0, 1, 3, 4])])
def test_wider_output_keeps_the_old_units(kind: str, bi: bool, kept: list[int]) -> None:
    make, options = INPUT_KINDS[kind]
    model = make(4, 3, bi=bi, depth=2, **options).initialize(dtype="float64")
    old = model.predict(padded(3, 1)).data
    model.resize_output(6)
    assert [node.dims["nO"] for node in leaves(model)] == ([2, 2, 3, 3] if bi else [4, 6])
    np.testing.assert_allclose(model.predict(padded(3, 1)).data[..., kept], old, atol=1e-12)
    model.resize_output(4)
    np.testing.assert_array_equal(model.predict(padded(3, 1)).data, old)


def test_new_input_columns_have_no_effect_before_training() -> None:
    model = cb.LSTM(4, 3, bi=True, depth=2).initialize(dtype="float64")
    X = padded(3, 1, width=5)
    old = model.predict(map_arrays(X, lambda x: x[..., :3])).data
    np.testing.assert_allclose(model.resize_input(5).predict(X).data, old, atol=1e-12)


def test_resized_residual_block_grows_at_the_end_of_each_direction() -> None:
    model = cb.residual(cb.LSTM(4, 4, bi=True)).initialize(dtype="float64")
    X, kept = padded(3, 1, width=6), [0, 1, 3, 4]
    old = model.predict(map_arrays(X, lambda x: x[..., kept])).data
    Y = model.resize_output(6).predict(X).data
    np.testing.assert_allclose(Y[..., kept], old, atol=1e-12)


def test_resize_output_fails_if_two_directions_get_an_odd_width() -> None:
    model = cb.LSTM(4, 3, bi=True).initialize()
    with raises(cb.DimensionError, "nO", "5"):
        model.resize_output(5)
    assert model.get_dim("nO") == 4


# -- dropout and passes ----------------------------------------------------------------------


def test_dropout_applies_between_layers_and_only_in_training() -> None:
    model = cb.LSTM(4, 3, depth=2, dropout=0.5).initialize(dtype="float64")
    X = padded(3, 2)
    Y, _ = model.begin_update(X)
    assert not np.allclose(Y.data, model.predict(X).data)
    without = cb.LSTM(4, 3, depth=2).initialize(dtype="float64")
    for ours, theirs in zip(leaves(without), leaves(model), strict=True):
        for name in ours.param_names:
            ours.set_param(name, theirs.get_param(name))
    np.testing.assert_array_equal(without.predict(X).data, model.predict(X).data)
    assert "dropout" not in str(cb.LSTM(4, 3, dropout=0.5))
    assert str(cb.LSTM(4, 3, depth=3, dropout=0.5)).count("dropout") == 2


def test_update_by_one_pass_does_not_affect_a_pending_pass() -> None:
    X, other = padded(3, 1, 4), padded(2, 5)
    model = cb.LSTM(4, 3, bi=True, depth=2).initialize(dtype="float64")
    Y, backprop = model.begin_update(X)
    expected = backprop(Y)
    gradients = [node.get_grad("U") for node in leaves(model)]
    model.finish_update(cb.SGD(0.0))
    _, first = model.begin_update(X)
    Y2, second = model.begin_update(other)
    second(Y2, cb.SGD(0.5))
    np.testing.assert_array_equal(first(Y).data, expected.data)
    for node, gradient in zip(leaves(model), gradients, strict=True):
        np.testing.assert_allclose(node.get_grad("U"), gradient, atol=1e-15)


@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_training_and_prediction_copy_nothing_to_the_host(kind: str, strict: Any) -> None:
    make, options = INPUT_KINDS[kind]
    model = cb.with_padded(make(NO, NI, bi=True, depth=2, dropout=0.2, **options)).initialize()
    model.to_gpu(0)
    X = cb.to_device([x.astype("float32") for x in listed(3, 1, 2, width=NI)], model.ops)
    sgd = cb.Adam(0.01)
    with strict.counting() as counted:
        for _ in range(2):
            Y, backprop = model.begin_update(X)
            backprop(Y, sgd)
        model.predict(X)
    assert counted.to_host == 0, counted.reasons


def test_steps_yields_the_row_slices_of_each_time_step() -> None:
    assert list(steps(np.array([3, 1, 0]))) == [
        (slice(0, 3), slice(0, 0), slice(0, 0)),
        (slice(3, 4), slice(0, 1), slice(0, 1)),
    ]
    assert list(steps(np.array([3, 1, 0]), reverse=True)) == [
        (slice(3, 4), slice(0, 0), slice(0, 0)),
        (slice(0, 3), slice(3, 4), slice(0, 1)),
    ]
    assert not list(steps(np.array([], dtype=int)))


def test_lstm_learns_to_remember_the_first_row() -> None:
    """The sign of the first row is the class of a sequence; the other rows are noise."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 1)).astype("float32") for n in rng.integers(3, 9, 64)]
    classes = np.array([int(x[0, 0] > 0) for x in X])
    model = cb.list2padded() >> cb.LSTM(12) >> cb.padded2list() >> cb.list2ragged()
    model = model >> cb.reduce_last() >> cb.Softmax(2)
    model.initialize(X)
    loss, sgd = cb.CategoricalCrossentropy(), cb.Adam(0.02)
    for _ in range(120):
        Y, backprop = model.begin_update(X)
        backprop(loss(Y, classes)[0], sgd)
    assert (model.predict(X).argmax(axis=1) == classes).mean() > 0.95


def test_kernel_tanh_is_accurate_over_the_whole_range() -> None:
    pytest.importorskip("numba")
    from combinet.ops.kernels.recurrent import _tanh

    X = np.concatenate([np.linspace(-12, 12, 2001), np.logspace(-30, 30, 61)]).astype("float32")
    found = np.array([_tanh(x) for x in X], "float64")
    expected = np.tanh(X.astype("float64"))
    assert (np.abs(found - expected) <= 2e-6 * np.abs(expected)).all()
    far = [_tanh(np.float32(x)) for x in (np.inf, -np.inf, np.nan, 0.0)]
    np.testing.assert_array_equal(far, [1, -1, np.nan, 0])

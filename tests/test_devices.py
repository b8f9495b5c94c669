"""Every layer on NumPy and GPU Ops: the same results, and no transfer to the host.

A strict replacement stands in for CuPy; `pytest -m gpu` runs the same tests on a real GPU.
"""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from cases import CASES, Case
from combinet.testing import INVARIANTS, check_device
from helpers.arrays import floats, keys, sparse
from helpers.errors import raises
from helpers.models import averages_of, named_params, params_of


@pytest.fixture(params=["strict", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> cb.CupyOps:
    """CupyOps with the strict replacement, and with the real CuPy if there is a GPU."""
    if request.param == "strict":
        request.getfixturevalue("strict")
        return cb.CupyOps(0)
    try:
        return cb.CupyOps(0)
    except cb.DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_numpy_ops_match_the_default_ops(case: Case) -> None:
    check_device(case.make(), case.X, cb.NumpyOps(), drop=case.drop)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_gpu_matches_cpu(case: Case, gpu: cb.CupyOps) -> None:
    check_device(case.make(), case.X, gpu, drop=case.drop)


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_layer_satisfies_the_invariant_on_a_gpu(
    case: Case, invariant: Any, gpu: cb.CupyOps
) -> None:
    case.check(invariant, gpu)


def _tagger() -> Any:
    embed = cb.HashEmbed(8, 50, column=0) | cb.HashEmbed(8, 20, column=1)
    encode = cb.residual(cb.expand_window(1) >> cb.Maxout(8) >> cb.LayerNorm() >> cb.Dropout())
    return cb.with_flatten(embed >> cb.Maxout(8) >> encode >> cb.Softmax(3))


def _textcat() -> Any:
    embed = cb.list2ragged() >> cb.with_array(cb.HashEmbed(8, 50, column=0))
    return embed >> cb.ParametricAttention() >> cb.reduce_sum() >> cb.Gelu(6) >> cb.Softmax(3)


def _pooled() -> Any:
    pool = cb.reduce_mean() | cb.reduce_max() | cb.reduce_first() | cb.reduce_last()
    return cb.list2ragged() >> cb.with_array(cb.HashEmbed(8, 50, column=0)) >> pool >> cb.Softmax(3)


DOCS = [keys(4, 2), keys(1, 2), keys(3, 2)]
TAGS = [np.array([0, 1, 2, 0]), np.array([1]), np.array([2, 2, 1])]
CLASSES = np.array([0, 2, 1])


def _train(model: Any, truths: Any, sgd: Any, ops: Any, steps: int) -> list[Any]:
    listed = isinstance(truths, list)
    loss: Any = cb.SequenceCategoricalCrossentropy() if listed else cb.CategoricalCrossentropy()
    X, T = cb.to_device(DOCS, ops), cb.to_device(truths, ops)
    values = []
    for _ in range(steps):
        Y, backprop = model.begin_update(X, drop=0.2)
        dY, value = loss(Y, T)
        backprop(dY, sgd)
        values.append(value)
    return values


@pytest.mark.parametrize(("make", "truths"), [(_tagger, TAGS), (_textcat, CLASSES),
                                              (_pooled, CLASSES)])  # fmt: skip
def test_training_step_makes_no_transfer_to_the_host(make: Any, truths: Any, strict: Any) -> None:
    model, sgd = make().initialize().to_gpu(0), cb.Adam(0.01, L2=0.01)
    X, T = cb.to_device(DOCS, model.ops), cb.to_device(truths, model.ops)
    listed = isinstance(truths, list)
    loss: Any = cb.SequenceCategoricalCrossentropy() if listed else cb.CategoricalCrossentropy()
    with strict.counting() as counted:
        for _ in range(2):
            Y, backprop = model.begin_update(X, drop=0.2)
            backprop(loss(Y, T)[0], sgd)
    assert counted.to_host == 0, counted.reasons


@pytest.mark.parametrize("on_host", [True, False])
def test_sparse_linear_accepts_lengths_on_host_or_gpu(strict: Any, on_host: bool) -> None:
    model, sgd = cb.SparseLinear(4, 11).initialize(dtype="float64").to_gpu(0), cb.Adam(0.1)
    keys, values, lengths = cb.to_device(sparse(3, 0, 2), model.ops)
    given, dY = np.array([3, 0, 2]) if on_host else lengths, cb.to_device(floats(3, 4), model.ops)
    with strict.counting() as counted:
        _, backprop = model.begin_update((keys, values, given))
        backprop(dY, sgd)
    assert counted.to_host == 0, counted.reasons


def test_training_continues_after_moves_to_gpu_and_back(gpu: cb.CupyOps) -> None:
    cpu = cb.NumpyOps()
    stayed, moved = (_tagger().initialize(dtype="float64") for _ in range(2))
    sgds = [cb.Adam(0.01, grad_clip=0.5) for _ in range(2)]
    for model, sgd in zip((stayed, moved), sgds, strict=True):
        _train(model, TAGS, sgd, cpu, 3)
        Y, backprop = model.begin_update(DOCS)
        backprop([np.ones_like(y) for y in Y])  # leave gradients pending
    moved.to_gpu(0)
    assert all(gpu.is_array(layer.get_param(name)) for _, layer, name in named_params(moved))
    on_gpu = _train(moved, TAGS, sgds[1], moved.ops, 3)
    on_cpu = _train(stayed, TAGS, sgds[0], cpu, 3)
    np.testing.assert_allclose([float(v) for v in on_gpu], [float(v) for v in on_cpu], rtol=1e-9)
    moved.to_cpu()
    _train(moved, TAGS, sgds[1], cpu, 3)
    _train(stayed, TAGS, sgds[0], cpu, 3)
    for read in (params_of, lambda model: averages_of(model, model.averages)):
        found, expected = read(moved), read(stayed)
        for path, array in expected.items():
            np.testing.assert_allclose(found[path], array, rtol=1e-9, err_msg=path)


def test_pending_pass_can_finish_after_a_move(strict: Any) -> None:
    model, twin = (cb.Linear(2, 3).initialize(dtype="float64") for _ in range(2))
    X = floats(4, 3)
    _, backprop = model.begin_update(X)
    twin.begin_update(X)[1](floats(4, 2))
    model.to_gpu(0)
    backprop(floats(4, 2))
    np.testing.assert_allclose(model.get_grad("W").get(), twin.get_grad("W"), rtol=1e-12)


def test_moving_to_the_current_device_does_nothing(strict: Any) -> None:
    model = cb.Linear(2, 3).initialize()
    weights = model.get_param("W")
    assert model.to_cpu().get_param("W") is weights
    on_gpu = model.to_gpu(1).get_param("W")
    assert model.to_gpu(1).get_param("W") is on_gpu
    assert on_gpu.device.id == 1
    assert model.to_gpu(0).get_param("W").device.id == 0


def test_input_on_the_wrong_device_fails(strict: Any) -> None:
    model = cb.Linear(2, 3).initialize().to_gpu(0)
    with raises(cb.InputError, "linear", "CupyOps(0)"):
        model.predict(np.zeros((1, 3), "f"))


def test_bytes_saved_on_a_gpu_load_on_the_cpu(strict: Any) -> None:
    model = _tagger().initialize()
    data = model.to_bytes()
    assert model.to_gpu(0).to_bytes() == data
    assert _tagger().from_bytes(data).to_bytes() == data
    assert model.from_bytes(data).ops.name == "cupy"


def test_resize_works_on_a_gpu(strict: Any) -> None:
    model = _tagger().initialize().to_gpu(0).resize_output(5)
    assert model.predict(cb.to_device(DOCS, model.ops))[0].shape == (4, 5)


def test_averages_can_be_used_after_a_move(strict: Any) -> None:
    model, sgd = _tagger().initialize(), cb.Adam(0.01)
    _train(model, TAGS, sgd, cb.NumpyOps(), 2)
    with model.use_params(sgd.averages):
        expected = model.predict(DOCS)
    model.to_gpu(0)
    with model.use_params(sgd.averages):
        found = model.predict(cb.to_device(DOCS, model.ops))
    np.testing.assert_allclose(found[0].get(), expected[0], rtol=1e-6)


def test_to_gpu_without_cupy_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    model = _tagger().initialize()
    data = model.to_bytes()
    with raises(cb.DeviceError, "CuPy", "pip install", "cuda12"):
        model.to_gpu(0)
    assert model.to_bytes() == data
    assert model.ops.name == "numpy"


def test_to_gpu_without_a_gpu_fails() -> None:
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        with raises(cb.DeviceError, "CuPy", "GPU", "pip install"):
            cb.Linear(2, 3).to_gpu(0)
    else:
        pytest.skip("there is a GPU")


def test_to_gpu_with_an_unknown_device_fails(strict: Any) -> None:
    with raises(cb.DeviceError, "7", "2"):
        cb.Linear(2, 3).to_gpu(7)


# -- with_cpu --------------------------------------------------------------------------------------


def _pinned() -> Any:
    embed = cb.with_cpu(cb.HashEmbed(8, 50, column=0) >> cb.Linear(8))
    return cb.with_flatten(embed >> cb.Maxout(8) >> cb.Softmax(3))


def _devices(model: Any) -> set[tuple[str, str]]:
    return {
        (layer.name, cb.get_array_ops(layer.get_param(name)).name)
        for _, layer, name in named_params(model)
    }


def test_with_cpu_layers_stay_on_the_cpu_and_train(gpu: cb.CupyOps) -> None:
    whole, divided = (_pinned().initialize(dtype="float64") for _ in range(2))
    divided.to_gpu(0)
    here = {("hash_embed", "numpy"), ("linear", "numpy")}
    assert _devices(divided) == here | {("maxout", "cupy"), ("softmax", "cupy")}
    sgds = [cb.Adam(0.01, grad_clip=0.5) for _ in range(2)]
    on_cpu = _train(whole, TAGS, sgds[0], cb.NumpyOps(), 3)
    on_both = _train(divided, TAGS, sgds[1], divided.ops, 3)
    np.testing.assert_allclose([float(v) for v in on_both], [float(v) for v in on_cpu], rtol=1e-9)
    divided.to_cpu()
    found = params_of(divided)
    for path, W in params_of(whole).items():
        np.testing.assert_allclose(found[path], W, rtol=1e-9)


def test_model_on_two_devices_keeps_its_devices(strict: Any) -> None:
    model = _pinned().to_gpu(0).initialize()
    assert ("hash_embed", "numpy") in _devices(model)
    assert ("maxout", "cupy") in _devices(model)
    arrays = [layer.get_param(name) for _, layer, name in named_params(model)]
    model.initialize()
    for array, (_, layer, name) in zip(arrays, named_params(model), strict=True):
        assert layer.get_param(name) is array
    assert _devices(model.copy()) == _devices(model)
    data = model.to_bytes()
    again = _pinned().to_gpu(0).from_bytes(data)
    assert again.to_bytes() == data
    assert _devices(again) == _devices(model)
    model.resize_output(5)
    assert _devices(model) == _devices(again)
    assert model.predict(cb.to_device(DOCS, model.ops))[0].shape == (4, 5)


@pytest.mark.parametrize(
    "inside", [lambda layer: layer, cb.residual, lambda layer: cb.relu() >> layer]
)
def test_to_gpu_fails_for_a_layer_inside_and_outside_with_cpu(inside: Any, strict: Any) -> None:
    shared = cb.Linear(3, 3)
    model = cb.with_cpu(inside(shared)) >> shared
    with raises(cb.DeviceError, "linear"):
        model.to_gpu(0)
    assert model.ops.name == "numpy"


def test_with_cpu_fails_for_a_layer_on_a_gpu(strict: Any) -> None:
    with raises(cb.DeviceError, "linear.to_cpu()"):
        cb.with_cpu(cb.Linear(2, 2).to_gpu(0))

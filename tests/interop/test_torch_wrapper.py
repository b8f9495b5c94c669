"""TorchWrapper: PyTorch modules as layers, compared with plain PyTorch."""

import copy
import gc
import sys
import threading
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.testing import check_layer, check_predict
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import named_params

torch = pytest.importorskip("torch")
nn = torch.nn

from combinet.interop.torch import TorchWrapper, unwrap  # noqa: E402
from combinet.interop.torch.convert import to_array, to_tensor  # noqa: E402


def mlp(*, dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2)).double()


def normed() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.3)).double()


def tensor(X: Any, *, grad: bool = False) -> Any:
    return torch.tensor(X, requires_grad=grad)


def assert_close(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def addresses(model: Any) -> list[int]:
    """The memory addresses of the model's parameters."""
    return [layer.get_param(name).ctypes.data for _, layer, name in named_params(model)]


class Tied(nn.Module):
    """A module that uses one matrix twice."""

    def __init__(self) -> None:
        super().__init__()
        self.there = nn.Linear(3, 4, bias=False)
        self.back = self.there

    def forward(self, X: Any) -> Any:
        return self.back(X) * self.there(X)


class Masked(nn.Module):
    """A module with a frozen parameter, an unused parameter, and constant buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]).double())
        self.frozen = nn.Parameter(torch.tensor(2.0).double(), requires_grad=False)
        self.idle = nn.Parameter(torch.ones(2).double())
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("bias", torch.tensor([0.0, -torch.inf, 0.0]).double())
        self.register_buffer("ids", torch.tensor([2, 0, 1]), persistent=False)

    def forward(self, X: Any) -> Any:
        return (X * self.free * self.mask)[:, self.ids] * self.frozen + self.bias.exp()


# -- results -----------------------------------------------------------------------------------


def test_output_and_gradients_match_pytorch() -> None:
    module = mlp()
    model = TorchWrapper(module)
    X, dY = floats(5, 3), floats(5, 2, seed=1)
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    inputs = tensor(X, grad=True)
    outputs = module(inputs)
    outputs.backward(tensor(dY))
    assert_close(Y, outputs)
    assert_close(model.predict(X), outputs)
    assert_close(dX, inputs.grad)
    for name, parameter in module.named_parameters():
        assert_close(model.get_grad(name), parameter.grad)


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_training_matches_pytorch(kind: str) -> None:
    module = mlp()
    model = TorchWrapper(module)
    X, target = floats(20, 3), floats(20, 2, seed=1)
    ours = cb.Adam(0.01, grad_clip=0) if kind == "Adam" else cb.SGD(0.01, grad_clip=0)
    theirs = getattr(torch.optim, kind)(module.parameters(), lr=0.01)
    for _ in range(10):
        Y, backprop = model.begin_update(X)
        backprop(Y - target, ours)
        theirs.zero_grad()
        (0.5 * (module(tensor(X)) - tensor(target)) ** 2).sum().backward()
        theirs.step()
    assert_close(model.predict(X), module(tensor(X)))


def test_wrapped_module_is_not_changed() -> None:
    module = normed().eval()
    before = copy.deepcopy(module.state_dict())
    model = TorchWrapper(module)
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y, cb.SGD(0.1))
    assert not module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def weight_normed() -> Any:
    with pytest.warns(FutureWarning):
        module = nn.utils.weight_norm(nn.Linear(3, 2))
    module(torch.ones(1, 3))
    return module


@pytest.mark.parametrize(
    ("make", "X"),
    [
        (mlp, floats(5, 3)),
        (lambda: nn.Embedding(9, 4).double(), np.array([1, 8, 1, 0])),
        (lambda: nn.Embedding(9, 4, sparse=True).double(), np.array([[1, 8, 1], [0, 0, 2]])),
        (Tied, floats(5, 3)),
        (weight_normed, floats(5, 3)),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), floats(5, 3)),
        (lambda: nn.Conv2d(2, 3, 2).double(), floats(2, 2, 4, 5)),
        (lambda: nn.MultiheadAttention(4, 2).double(), (floats(3, 2, 4),) * 3),
        (lambda: nn.LSTM(3, 4, 2, bidirectional=True).double(), floats(5, 2, 3)),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0).double(), floats(3, 2, 4)),
        (lambda: nn.Tanh(), floats(2, 3)),
    ],
)  # fmt: skip
def test_wrapped_module_satisfies_the_invariants(make: Any, X: Any) -> None:
    torch.manual_seed(0)
    model = TorchWrapper(make().double())
    if len(Y := model.predict(X)) == 2 and isinstance(Y, tuple):
        model = model >> cb.tuple_getitem(0)  # the other outputs may not depend on the weights
    check_layer(model, X)


def test_batch_normalization_in_a_chain_satisfies_the_invariants() -> None:
    model = cb.Linear(3) >> TorchWrapper(normed()) >> cb.Maxout(2)
    check_layer(model, floats(6, 2), skip=[check_predict])


def test_tied_weights_are_one_parameter() -> None:
    model = TorchWrapper(Tied())
    assert model.param_names == ("there.weight",)
    module = unwrap(model)
    assert module.back.weight is module.there.weight


# -- buffers, frozen weights -------------------------------------------------------------------


def test_running_statistics_match_pytorch() -> None:
    module = normed()
    model, sgd = TorchWrapper(module), cb.SGD(0.1, grad_clip=0)
    theirs = torch.optim.SGD(module.parameters(), lr=0.1)
    for i in range(3):
        X = floats(6, 3, seed=i)
        Y, backprop = model.begin_update(X)
        backprop(Y, sgd)
        theirs.zero_grad()
        (0.5 * module(tensor(X)) ** 2).sum().backward()
        theirs.step()
    for name, buffer in module.named_buffers():
        assert_close(model.get_param(name), buffer)
    assert_close(model.predict(floats(2, 3)), module.eval()(tensor(floats(2, 3))))


def test_forward_pass_alone_does_not_change_running_statistics() -> None:
    model = TorchWrapper(normed())
    before = model.to_bytes()
    model.begin_update(floats(6, 3))
    model.predict(floats(6, 3))
    assert model.to_bytes() == before


def test_two_passes_average_their_running_statistics() -> None:
    module, model = normed(), TorchWrapper(normed())
    batches = [floats(6, 3), floats(6, 3, seed=1)]
    for X in batches:
        Y, backprop = model.begin_update(X)
        backprop(Y)
    model.finish_update(cb.SGD(0.0))
    ends = []
    for X in batches:
        alone = copy.deepcopy(module)
        alone(tensor(X))
        ends.append(alone[1].running_mean)
    assert_close(model.get_param("1.running_mean"), (ends[0] + ends[1]) / 2)
    assert model.get_param("1.num_batches_tracked") == 1


def test_update_keeps_frozen_unused_and_constant_tensors() -> None:
    module = Masked()
    model = TorchWrapper(module)
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y, cb.Adam(0.1, L2=0.1))
    assert model.get_param("frozen") == 2
    assert (model.get_param("idle") == 1).all()
    assert model.get_param("bias").tolist() == [0, -np.inf, 0]
    assert (model.get_param("free")[[0, 2]] != [1, 3]).all()
    assert_close(TorchWrapper(module).predict(floats(5, 3)), module(tensor(floats(5, 3))))


def test_constant_buffers_are_saved() -> None:
    module = Masked()
    data = TorchWrapper(module).to_bytes()
    module.mask[:] = ~module.mask
    model = TorchWrapper(module)
    other = model.predict(floats(5, 3))
    model.from_bytes(data)
    module.mask[:] = ~module.mask
    assert_close(model.predict(floats(5, 3)), module(tensor(floats(5, 3))))
    assert (model.predict(floats(5, 3)) != other).any()


# -- passes are pure, reentrant, in threads ----------------------------------------------------


def test_two_pending_passes_match_pytorch() -> None:
    module = mlp()
    model = TorchWrapper(module)
    X1, X2, dY1, dY2 = floats(5, 3), floats(4, 3, seed=1), floats(5, 2), floats(4, 2)
    _, first = model.begin_update(X1)
    _, second = model.begin_update(X2)
    dX2, dX1 = second(dY2), first(dY1)
    for X, dX, dY in ((X1, dX1, dY1), (X2, dX2, dY2)):
        inputs = tensor(X, grad=True)
        module(inputs).backward(tensor(dY))
        assert_close(dX, inputs.grad)
    for name, parameter in module.named_parameters():
        assert_close(model.get_grad(name), parameter.grad)  # PyTorch sums them too


def test_passes_in_threads_match_single_passes() -> None:
    model = TorchWrapper(mlp())
    batches = [floats(6, 3, seed=seed) for seed in range(16)]
    alone = [model.begin_update(X)[1](floats(6, 2)) for X in batches]
    expected = {name: model.get_grad(name) for name in model.param_names}
    model.finish_update(cb.SGD(0.0))
    found: dict[int, Any] = {}

    def work(i: int) -> None:
        found[i] = model.begin_update(batches[i])[1](floats(6, 2))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, dX in enumerate(alone):
        assert_close(found[i], dX)
    for name in model.param_names:
        assert_close(model.get_grad(name), expected[name])


@pytest.mark.parametrize("module", [mlp(), nn.LSTM(3, 2).double()])
def test_update_copies_no_weights_after_its_pass(module: Any) -> None:
    model = TorchWrapper(module) if isinstance(module, nn.Sequential) else (
        TorchWrapper(module) >> cb.tuple_getitem(0)
    )  # fmt: skip
    Y, backprop = model.begin_update(floats(5, 3))
    before = addresses(model)
    backprop(Y, cb.Adam(0.1))
    assert addresses(model) == before


def test_dropping_the_pass_frees_its_input() -> None:
    model = TorchWrapper(mlp())
    X = floats(5, 3)
    count = sys.getrefcount(X)
    Y, backprop = model.begin_update(X)
    backprop(Y)
    assert sys.getrefcount(X) > count
    del Y, backprop
    gc.collect()
    assert sys.getrefcount(X) == count


def test_backprop_can_be_called_twice() -> None:
    model = TorchWrapper(mlp())
    Y, backprop = model.begin_update(floats(5, 3))
    assert_close(backprop(Y), backprop(Y))


def test_checkpointed_pass_repeats_its_dropout_masks() -> None:
    model = cb.checkpointed(TorchWrapper(mlp(dropout=0.5)))
    _, backprop = model.begin_update(floats(9, 3), rng=np.random.default_rng(3))
    dX = backprop(floats(9, 2))
    plain = TorchWrapper(mlp(dropout=0.5))
    _, expected = plain.begin_update(floats(9, 3), rng=np.random.default_rng(3))
    assert_close(dX, expected(floats(9, 2)))


# -- memory ------------------------------------------------------------------------------------


def test_arrays_are_shared_without_copies() -> None:
    seen: dict[str, Any] = {}

    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, X: Any) -> Any:
            seen["X"], seen["W"] = X.data_ptr(), self.weight.data_ptr()
            Y = X * self.weight
            seen["Y"] = Y.data_ptr()
            return Y

    model = TorchWrapper(Look())
    X = np.ones((2, 3), "float32")
    Y, _ = model.begin_update(X)
    assert seen == {
        "X": X.ctypes.data, "Y": Y.ctypes.data, "W": model.get_param("weight").ctypes.data
    }  # fmt: skip


def test_arrays_that_pytorch_cannot_view_are_copied() -> None:
    array = np.arange(6.0)
    frozen = np.arange(6.0)
    frozen.flags.writeable = False
    assert to_tensor(array[::-1]).tolist() == array[::-1].tolist()
    to_tensor(frozen).zero_()
    assert frozen[5] == 5
    assert to_array(torch.tensor(2.0), cb.NumpyOps()).shape == ()


# -- mode, dropout -----------------------------------------------------------------------------


def test_training_mode_follows_the_pass_for_all_submodules() -> None:
    modes = []

    class Look(nn.Module):
        def forward(self, X: Any) -> Any:
            modes.append((self.training, torch.is_grad_enabled()))
            return X

    module = nn.Sequential(nn.Sequential(Look())).eval()
    model = TorchWrapper(module)
    X = floats(1, 1)
    with torch.no_grad():
        model.begin_update(X)
    model.predict(X)
    model.begin_update(X)
    assert modes == [(True, True), (False, False), (True, True)]


def test_dropout_uses_the_rng_of_the_pass_not_pytorchs() -> None:
    module = mlp(dropout=0.5)
    model = TorchWrapper(module)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = model.begin_update(floats(9, 3), rng=np.random.default_rng(3))[0]
    assert torch.equal(torch.rand(1), expected)
    assert_close(model.begin_update(floats(9, 3), rng=np.random.default_rng(3))[0], first)
    torch.manual_seed(int(np.random.default_rng(3).integers(2**63)))
    assert_close(first, module(tensor(floats(9, 3))))
    assert_close(model.predict(floats(9, 3)), module.eval()(tensor(floats(9, 3))))


def test_drop_sets_rates_only_with_use_drop() -> None:
    X = np.ones((1, 10_000))
    for model, rate in (
        (TorchWrapper(nn.Dropout(0.2)), 0.2),
        (TorchWrapper(nn.Dropout(0.2), use_drop=True), 0.6),
    ):
        Y = model.begin_update(X, drop=0.6)[0]
        assert (Y == 0).mean() == pytest.approx(rate, abs=0.03)
        assert (model.predict(X) == 1).all()
    lstm = TorchWrapper(nn.LSTM(3, 4, 2).double(), use_drop=True)
    Y, again = (lstm.begin_update(floats(5, 3), drop=0.5)[0][0] for _ in range(2))
    assert (again != Y).any()


# -- dims, overrides, saving, copies -----------------------------------------------------------


def test_dims_are_inferred_for_neighbouring_layers() -> None:
    model = cb.Linear() >> TorchWrapper(mlp()) >> cb.Softmax()
    model.initialize(floats(2, 5), np.zeros((2, 7)), dtype="float64")
    assert [layer.dims.get("nI") for layer in model.layers] == [5, 3, 2]
    with raises(cb.DimensionError, "torch(Sequential)"):
        cb.Linear(4) >> TorchWrapper(mlp())


@pytest.mark.parametrize("size", [1, 5])
def test_resize_keeps_the_common_weights(size: int) -> None:
    module = mlp()
    model = TorchWrapper(module).resize_output(size).resize_input(size)
    X = floats(4, size)
    new = unwrap(model)
    assert (new[0].in_features, new[3].out_features) == (size, size)
    assert_close(model.predict(X), new(tensor(X)))
    shared_in, shared_out = min(size, 3), min(size, 2)
    cut = np.zeros((4, 3))
    cut[:, :shared_in] = X[:, :shared_in]
    expected = module(tensor(cut)).detach().numpy()[:, :shared_out]
    assert_close(model.predict(X)[:, :shared_out], expected)
    assert (model.predict(X)[:, 2:] == 0).all()


def test_resize_changes_rows_and_columns_of_an_embedding() -> None:
    module = nn.Embedding(4, 2)
    model = TorchWrapper(module) >> TorchWrapper(nn.Linear(2, 1))
    model.resize_input(6)
    assert model.layers[0].get_param("weight").shape == (6, 2)
    assert (model.layers[0].get_param("weight")[4:] == 0).all()
    table = TorchWrapper(module).resize_output(3)
    assert_close(table.predict(np.array([3, 1]))[:, :2], module(torch.tensor([3, 1])))


@pytest.mark.parametrize(
    "module", [nn.Conv1d(2, 3, 1), nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4)), Tied(),
               nn.Sequential(*[nn.Linear(2, 2)] * 2)]
)  # fmt: skip
def test_resize_fails_for_other_modules(module: Any) -> None:
    model = TorchWrapper(module)
    before = model.to_bytes()
    with raises(cb.DimensionError, "layer"):
        model.resize_output(5)
    assert model.to_bytes() == before


def test_use_params_overrides_the_weights() -> None:
    module = mlp()
    model, sgd = TorchWrapper(module), cb.SGD(0.1)
    X = floats(5, 3)
    Y, backprop = model.begin_update(X)
    backprop(Y, sgd)
    with model.use_params(
        {(model.id, n): p.detach().numpy() for n, p in module.named_parameters()}
    ):
        assert_close(model.predict(X), module(tensor(X)))
    trained = model.predict(X)
    with model.use_params(sgd.averages):
        assert (model.predict(X) != trained).any()
    assert_close(model.predict(X), trained)


def test_model_can_be_saved_in_combinets_format() -> None:
    X = floats(5, 3)
    model = cb.Linear(3) >> TorchWrapper(normed())
    model.initialize(X, dtype="float64")
    Y, backprop = model.begin_update(X)
    backprop(Y, cb.Adam(0.1))
    other = (cb.Linear(3) >> TorchWrapper(normed())).from_bytes(model.to_bytes())
    assert_close(other.predict(X), model.predict(X))
    with pytest.raises(cb.FormatError):
        (cb.Linear(3) >> TorchWrapper(mlp())).from_bytes(model.to_bytes())


def test_weights_are_float64_only_if_all_are() -> None:
    assert TorchWrapper(mlp()).dtype == "float64"
    assert TorchWrapper(mlp().float()).dtype == "float32"
    half = TorchWrapper(nn.Linear(2, 2).bfloat16())
    assert half.dtype == "float32"
    assert unwrap(half).weight.dtype == torch.bfloat16


# -- mixed precision -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_autocast_matches_pytorch(kind: str) -> None:
    module = mlp().float()
    model = TorchWrapper(module, autocast=kind)
    X = floats(5, 3).astype("float32")
    Y, backprop = model.begin_update(X)
    with torch.autocast("cpu", dtype=getattr(torch, kind)):
        expected = module(torch.tensor(X))
    assert expected.dtype == getattr(torch, kind)
    assert Y.dtype == "float32"
    np.testing.assert_array_equal(Y, expected.detach().float().numpy())
    dX = backprop(np.ones_like(Y))
    inputs = torch.tensor(X, requires_grad=True)
    module(inputs).sum().backward()
    np.testing.assert_allclose(dX, inputs.grad, rtol=0.05, atol=0.01)
    assert model.get_grad("0.weight").dtype == "float32"


def test_gradient_scaling_handles_small_and_large_gradients() -> None:
    X = np.ones((1, 1), "float32")
    model = TorchWrapper(nn.Linear(1, 1), autocast="float16")
    scale = model.attrs["scale"]
    for dY in (1e-8, 1.0, 6e4):  # 1e-8 is 0 in float16; 6e4 overflows when scaled
        Y, backprop = model.begin_update(X)
        backprop(np.full_like(Y, dY))
        assert model.get_grad("weight").item() == pytest.approx(dY, rel=1e-2)
        model.finish_update(cb.SGD(0.0))
    assert scale.factor < 2.0**16


def test_gradient_scale_grows_after_its_interval() -> None:
    from combinet.interop.torch.scaling import GradientScale

    scale = GradientScale(4.0, interval=2)
    for expected in (4.0, 8.0, 8.0, 16.0):
        assert scale(lambda factor: [torch.tensor([factor]), None])[0] == 1
        assert scale.factor == expected


# -- failures ----------------------------------------------------------------------------------


def test_invalid_or_lazy_modules_fail() -> None:
    with raises(cb.InputError, "torch.nn.Module", "function"):
        TorchWrapper(lambda X: X)  # type: ignore[arg-type]
    with raises(cb.InputError, "TorchScript"):
        TorchWrapper(torch.jit.ScriptModule())
    with raises(cb.InputError, "weight"):
        TorchWrapper(nn.LazyLinear(2))
    module = nn.Module()
    module.ids = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
    with raises(cb.InputError, "floats"):
        TorchWrapper(module)
    with raises(cb.InputError, "autocast"):
        TorchWrapper(nn.Linear(1, 1), autocast="float8")


def test_input_of_wrong_width_or_dtype_fails() -> None:
    model = TorchWrapper(mlp())
    with raises(cb.DimensionError, "nI=3", "(2, 4)"):
        model.predict(floats(2, 4))
    with raises(cb.InputError, "float64"):
        model.predict(floats(2, 3).astype("float32"))


def test_modules_that_write_in_place_fail() -> None:
    X = floats(2, 3)
    with raises(cb.StateError, "input"):
        TorchWrapper(nn.ReLU(inplace=True)).predict(X)
    with raises(cb.StateError, "weight"):
        TorchWrapper(nn.Embedding(3, 2, max_norm=0.1)).predict(np.array([0]))


@pytest.mark.gpu
def test_gpu_matches_cpu() -> None:
    from combinet.testing import check_device

    check_device(TorchWrapper(mlp()), floats(5, 3), cb.CupyOps())
    check_device(cb.Linear(3) >> TorchWrapper(normed()), floats(5, 3), cb.CupyOps())

"""as_torch: PyTorch's gradcheck, optimizers, state dicts and dropout work on combinet models."""

import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.testing import check_layer
from helpers.arrays import close, floats
from helpers.errors import raises
from helpers.models import has_gradients, named_params, params_of, pending_gradients

torch = pytest.importorskip("torch")
nn = torch.nn
functional_call = torch.func.functional_call

from combinet.interop.torch import TorchWrapper, as_torch  # noqa: E402


def mlp() -> Any:
    model = cb.Linear(4, 3) >> cb.gelu() >> cb.LayerNorm() >> cb.Maxout(2, pieces=3)
    return model.initialize(dtype="float64")


def tensor(*shape: int, seed: int = 0) -> Any:
    return torch.tensor(floats(*shape, seed=seed), requires_grad=True)


def gradcheck(module: Any, *inputs: Any) -> None:
    """Runs PyTorch's numerical gradient check for the inputs and the parameters."""
    names = [name for name, _ in module.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def call(*tensors: Any) -> Any:
        named = dict(zip(names, tensors, strict=False))
        return functional_call(module, named, tensors[len(names) :])

    assert torch.autograd.gradcheck(call, (*values, *inputs))


@pytest.mark.parametrize(
    "make",
    [
        mlp,
        lambda: cb.expand_window(1) >> cb.Linear(2, 9),
        lambda: cb.residual(cb.Mish(3, 3)) | cb.noop(),
        lambda: cb.noop() >> cb.siamese(cb.Linear(2, 3), cb.CauchySimilarity()),
    ],
)
def test_gradcheck_passes(make: Any) -> None:
    model = make().initialize(dtype="float64")
    pair = any(layer.name == "siamese" for layer in model.walk())
    inputs = (tensor(5, 3), tensor(5, 3, seed=1)) if pair else (tensor(5, 3),)
    gradcheck(as_torch(model), *inputs)


def test_embedding_gradients_match_those_of_backprop() -> None:
    model = (cb.HashEmbed(3, 7) >> cb.Linear(2)).initialize(np.array([1, 2, 3]), dtype="float64")
    module = as_torch(model)
    ids = torch.tensor([5, 9, 5, 12])
    module(ids).sum().backward()
    Y, backprop = model.begin_update(ids.numpy())
    assert backprop(np.ones_like(Y)) is None
    for parameter, gradient in zip(module.parameters(), pending_gradients(model), strict=True):
        close(parameter.grad, gradient)


def test_pytorch_optimizer_trains_the_model() -> None:
    model = cb.Linear(1, 3).initialize(dtype="float64")
    reference = nn.Linear(3, 1).double()
    module = as_torch(model)
    with torch.no_grad():
        reference.weight.copy_(module.get_parameter("linear/W"))
        reference.bias.copy_(module.get_parameter("linear/b"))
    X, target = tensor(8, 3), torch.tensor(floats(8, 1, seed=1))
    for each in (module, reference):
        optimizer = torch.optim.AdamW(each.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.mse_loss(each(X), target).backward()
            optimizer.step()
    close(model.get_param("W"), reference.weight.detach())
    close(model.predict(X.detach().numpy()), reference(X).detach())


def test_parameters_share_memory_with_the_model() -> None:
    model = mlp()
    module = as_torch(model)
    for parameter, (_, layer, name) in zip(module.parameters(), named_params(model), strict=True):
        assert parameter.data_ptr() == layer.get_param(name).ctypes.data
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert (model.layers[0].get_param("W") == 0).all()


def test_module_sees_changes_made_by_combinet() -> None:
    model = mlp()
    module = as_torch(model)
    X = floats(5, 3)
    Y, backprop = model.begin_update(X)
    backprop(Y, cb.Adam(0.1))
    close(module(torch.tensor(X)).detach(), model.predict(X))
    model.resize_output(4)
    model.layers[0].set_param("b", np.ones(4))
    close(module(torch.tensor(X)).detach(), model.predict(X))
    model.from_bytes(mlp().resize_output(4).to_bytes())
    module.refresh()
    for parameter, W in zip(module.parameters(), params_of(model).values(), strict=True):
        close(parameter.detach(), W)
    with model.use_params({(model.layers[0].id, "b"): np.full(4, 7.0)}):
        close(module(torch.tensor(X)).detach(), model.predict(X))


def test_state_dict_can_be_saved_and_loaded() -> None:
    module, other = as_torch(mlp()), as_torch(mlp())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(tensor(2, 3)), other(tensor(2, 3)))
    close(other.model.predict(floats(2, 3)), module.model.predict(floats(2, 3)))


def test_state_dict_contains_the_current_weights() -> None:
    model = mlp()
    module = as_torch(model)
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y, cb.Adam(0.1))
    close(module.state_dict()["chain >> linear/W"], model.layers[0].get_param("W"))


def test_load_state_dict_writes_to_the_current_weights() -> None:
    model = mlp()
    module = as_torch(model)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y, cb.Adam(0.1))
    module.load_state_dict(before)
    close(model.predict(floats(5, 3)), mlp().predict(floats(5, 3)))
    with raises(cb.StateError, "assign=True"):
        module.load_state_dict(before, assign=True)


def test_gradients_accumulate_only_in_pytorch() -> None:
    model = mlp()
    as_torch(model)(tensor(5, 3)).sum().backward()
    assert not has_gradients(model)


def test_frozen_weights_and_inputs_have_no_gradient() -> None:
    module = as_torch(mlp())
    first, *rest = module.parameters()
    first.requires_grad_(False)
    module(torch.tensor(floats(5, 3))).sum().backward()
    assert first.grad is None
    assert all(parameter.grad is not None for parameter in rest)


def test_two_pending_passes_have_correct_gradients() -> None:
    module = as_torch(mlp())
    X1, X2 = tensor(5, 3), tensor(4, 3, seed=1)
    alone = [torch.autograd.grad(module(X).sum(), [X, *module.parameters()]) for X in (X1, X2)]
    first, second = module(X1), module(X2)
    (second.sum() + 0).backward()
    (first.sum() + 0).backward()
    close(X1.grad, alone[0][0])
    close(X2.grad, alone[1][0])
    for parameter, one, two in zip(module.parameters(), alone[0][1:], alone[1][1:], strict=True):
        close(parameter.grad, one + two)


@pytest.mark.parametrize("what", ["a weight", "the input", "the output"])
def test_backward_fails_after_an_inplace_change(what: str) -> None:
    module = as_torch(mlp())
    X = tensor(5, 3) * 1
    Y = module(X)
    Z = Y.sum()
    with torch.no_grad():
        {"a weight": next(module.parameters()), "the input": X, "the output": Y}[what].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        Z.backward()


def test_outputs_and_gradients_do_not_share_memory() -> None:
    module = as_torch(cb.noop())
    X = tensor(2, 2)
    dY = torch.ones(2, 2).double()
    Y = module(X)
    Y.backward(dY)
    X.grad.add_(1.0)
    Y.detach().add_(1.0)
    assert (dY == 1).all()
    close(X.detach(), floats(2, 2))


def test_deleting_the_output_frees_the_pass() -> None:
    module = as_torch(mlp())
    Y = module(tensor(5, 3))
    call = weakref.ref(Y.grad_fn.call)
    gc.disable()
    try:
        del Y
        assert call() is None  # freed immediately: the pass has no reference cycle
    finally:
        gc.enable()


def test_no_grad_output_needs_no_backward_pass() -> None:
    module = as_torch(mlp())
    with torch.no_grad():
        Y = module(tensor(5, 3))
    assert not Y.requires_grad
    close(Y, module.model.predict(floats(5, 3)))


def test_dropout_follows_the_mode_and_the_pytorch_seed() -> None:
    module = as_torch(cb.Dropout(), drop=0.5)
    X = torch.ones(100, 100, requires_grad=True)
    torch.manual_seed(1)
    Y = module(X)
    torch.manual_seed(1)
    assert torch.equal(module(X), Y)
    assert not torch.equal(module(X), Y)
    assert float((Y == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert torch.equal(module.eval()(X), X)
    module(X).sum().backward()  # PyTorch computes gradients in evaluation mode too
    assert (X.grad == 1).all()


def test_backward_pass_updates_running_statistics_like_pytorch() -> None:
    module = as_torch(cb.BatchNorm(3, momentum=0.3).initialize(dtype="float64"))
    reference = nn.BatchNorm1d(3, momentum=0.3).double()
    for seed in range(3):
        X = tensor(6, 3, seed=seed)
        module(X).sum().backward()
        reference(X)
    close(module.model.get_param("mean"), reference.running_mean)
    close(module.model.get_param("var"), reference.running_var)
    X = tensor(6, 3)
    close(module.eval()(X).detach(), reference.eval()(X).detach())


def test_deepcopy_shares_no_arrays() -> None:
    module = as_torch(mlp()).eval()
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert not twin.training
    close(twin(tensor(2, 3)).detach(), twin.model.predict(floats(2, 3)))
    close(module(tensor(2, 3)).detach(), mlp().predict(floats(2, 3)))


def test_wrapper_inside_as_torch_and_the_reverse_work() -> None:
    torch.manual_seed(0)
    inner = TorchWrapper(nn.Sequential(nn.Linear(3, 4), nn.Tanh()).double())
    module = as_torch((inner >> cb.Linear(2)).initialize(dtype="float64"))
    gradcheck(module, tensor(5, 3))
    check_layer(cb.Linear(3) >> TorchWrapper(nn.Sequential(module, nn.Tanh())), floats(5, 3))
    X = torch.tensor(floats(5, 3))
    W, b, V, c = module.parameters()
    close(module(X).detach(), (torch.tanh(X @ W.T + b) @ V.T + c).detach())


def test_running_statistics_update_through_both_wrappers() -> None:
    module = nn.BatchNorm1d(3).double()
    both = TorchWrapper(as_torch(TorchWrapper(module)))
    Y, backprop = both.begin_update(floats(6, 3))
    backprop(Y, cb.SGD(0.0))
    module(torch.tensor(floats(6, 3)))
    values = {name.rsplit("/", 1)[-1]: both.get_param(name) for name in both.param_names}
    close(values["running_mean"], module.running_mean)
    close(values["running_var"], module.running_var)


def test_as_torch_fails_for_an_uninitialized_model() -> None:
    with raises(cb.StateError, "'chain >> linear'"):
        as_torch(cb.Linear(2) >> cb.relu())
    assert not [*as_torch(cb.relu()).to("cpu").parameters()]


def test_weights_keep_their_dtype() -> None:
    module = as_torch(mlp())
    assert module.double() is module
    with raises(cb.StateError, "torch.float64"):
        module.float()
    with raises(cb.StateError, "meta"):
        module.to("meta")


def test_input_of_wrong_width_fails_with_the_path() -> None:
    with raises(cb.DimensionError, "'chain >> linear'"):
        as_torch(mlp())(tensor(2, 4))


@pytest.mark.gpu
def test_module_moves_with_its_model() -> None:
    module = as_torch(mlp()).to("cuda")
    assert module.model.ops.device == 0
    X = tensor(5, 3).detach().cuda()
    close(module(X).detach().cpu(), mlp().predict(floats(5, 3)))

"""TorchOptimizer matches PyTorch's optimizers on PyTorch models."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.against_torch import assert_close
from helpers.arrays import floats
from helpers.errors import raises

torch = pytest.importorskip("torch")
nn = torch.nn

from combinet.interop.torch import TorchOptimizer, TorchWrapper  # noqa: E402


def module() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def step(model: Any, sgd: Any, seed: int = 0) -> None:
    Y, backprop = model.begin_update(floats(6, model.get_dim("nI"), seed=seed))
    backprop(Y - 1, sgd)


def same_step(reference: Any, optimizer: Any, seed: int = 0) -> None:
    optimizer.zero_grad()
    Y = reference(torch.tensor(floats(6, 3, seed=seed)))
    (0.5 * (Y - 1) ** 2).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.AdamW, {"weight_decay": 0.1}),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (torch.optim.NAdam, {}),
        (torch.optim.Adafactor, {}),
    ],
)
def test_training_matches_pytorch(kind: Any, options: Any) -> None:
    model, reference = TorchWrapper(module()), module()
    sgd = TorchOptimizer(kind, 0.05, **options)
    optimizer = kind(reference.parameters(), lr=0.05, **options)
    for seed in range(4):
        step(model, sgd, seed)
        same_step(reference, optimizer, seed)
    assert_close(model.predict(floats(2, 3)), reference(torch.tensor(floats(2, 3))))


def test_combinet_layer_with_a_schedule_matches_pytorch() -> None:
    model = cb.Linear(2, 3).initialize(dtype="float64")
    reference = nn.Linear(3, 2).double()
    reference.load_state_dict(
        {"weight": torch.tensor(model.get_param("W")), "bias": torch.tensor(model.get_param("b"))}
    )
    sgd = TorchOptimizer(torch.optim.Adam, lambda step: 0.1 / (1 + step))
    optimizer = torch.optim.Adam(reference.parameters())
    for seed in range(3):
        step(model, sgd, seed)
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + seed)
        same_step(reference, optimizer, seed)
    assert_close(model.get_param("W"), reference.weight)


def test_gradient_clipping_matches_pytorch() -> None:
    model, reference = TorchWrapper(module()), module()
    step(model, TorchOptimizer(torch.optim.SGD, 0.1, grad_clip=0.5))
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(
        lambda *_: torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5) and None
    )
    same_step(reference, optimizer)
    np.testing.assert_allclose(
        model.predict(floats(2, 3)), reference(torch.tensor(floats(2, 3))).detach(), rtol=1e-6
    )  # PyTorch adds 1e-6 to the norm


def test_averages_match_those_of_combinets_sgd() -> None:
    models = [TorchWrapper(module()) for _ in range(2)]
    for model, sgd in zip(
        models, (cb.SGD(0.1, grad_clip=0), TorchOptimizer(torch.optim.SGD, 0.1)), strict=True
    ):
        for seed in range(3):
            step(model, sgd, seed)
        assert sgd.averages.keys() == {(model.id, name) for name in model.param_names}
    for a, b in zip(models[0].averages.values(), models[1].averages.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_update_copies_weights_only_for_a_pending_pass() -> None:
    model, sgd = TorchWrapper(module()), TorchOptimizer(torch.optim.SGD, 0.5)
    X = floats(5, 3)
    expected = model.begin_update(X)[1](floats(5, 2))
    model.finish_update(cb.SGD(0.0))
    _, pending = model.begin_update(X)
    step(model, sgd)
    np.testing.assert_array_equal(pending(floats(5, 2)), expected)
    del pending
    before = model.get_param("0.weight").ctypes.data
    step(model, sgd)
    assert model.get_param("0.weight").ctypes.data == before


def test_state_can_be_saved_and_loaded() -> None:
    model, sgd = TorchWrapper(module()), TorchOptimizer(torch.optim.Adam, 0.1)
    for seed in range(3):
        step(model, sgd, seed)
    other = TorchWrapper(module()).from_bytes(model.to_bytes())
    again = TorchOptimizer(torch.optim.Adam, 0.1).from_bytes(sgd.to_bytes(model), other)
    step(model, sgd)
    step(other, again)
    assert other.to_bytes() == model.to_bytes()
    assert again.to_bytes(other) == sgd.to_bytes(model)
    assert again.step == 4


def test_loading_state_of_another_optimizer_or_model_fails() -> None:
    model, sgd = TorchWrapper(module()), TorchOptimizer(torch.optim.Adam, 0.1)
    step(model, sgd)
    data = sgd.to_bytes(model)
    with raises(cb.FormatError, "Adam", "SGD"):
        TorchOptimizer(torch.optim.SGD, 0.1).from_bytes(data, model)
    with raises(cb.FormatError, "parameter"):
        sgd.from_bytes(data, cb.Linear(2, 3).initialize())
    with raises(cb.DimensionError, "(5, 8)", "[2, 8]"):
        sgd.from_bytes(data, model.copy().resize_output(5))


def test_training_continues_after_a_resize() -> None:
    model, sgd = TorchWrapper(module()), TorchOptimizer(torch.optim.Adam, 0.1)
    step(model, sgd)
    model.resize_output(3)
    step(model, sgd)
    assert (model.get_param("2.weight")[2] != 0).all()

"""Weights of wrapped modules can be unwrapped, saved for PyTorch, and loaded from PyTorch."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
nn = torch.nn

from combinet.interop.torch import (  # noqa: E402
    TorchWrapper,
    as_torch,
    from_safetensors,
    take_weights,
    to_safetensors,
    unwrap,
)


def normed(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()


def trained() -> Any:
    model = TorchWrapper(normed())
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y, cb.Adam(0.1))
    return model


def test_unwrap_returns_the_trained_module() -> None:
    model = trained()
    module = unwrap(model)
    assert type(module) is nn.Sequential
    assert int(module[1].num_batches_tracked) == 1
    found = module.eval()(torch.tensor(floats(2, 3))).detach()
    np.testing.assert_allclose(found, model.predict(floats(2, 3)), rtol=1e-12)
    with torch.no_grad():
        module[0].weight.zero_()
    assert model.get_param("0.weight").all()


def test_saved_file_is_the_state_dict_of_the_module(tmp_path: Any) -> None:
    model = trained()
    to_safetensors(model, tmp_path / "model.safetensors")
    other = normed(seed=1)
    other.load_state_dict(safetensors.load_file(tmp_path / "model.safetensors"))
    found = other.eval()(torch.tensor(floats(2, 3))).detach()
    np.testing.assert_allclose(found, model.predict(floats(2, 3)), rtol=1e-12)


def test_file_written_by_pytorch_can_be_loaded(tmp_path: Any) -> None:
    module = normed(seed=1)
    safetensors.save_file(module.state_dict(), tmp_path / "module.safetensors")
    model = trained()
    from_safetensors(model, tmp_path / "module.safetensors")
    expected = module.eval()(torch.tensor(floats(2, 3))).detach()
    np.testing.assert_allclose(model.predict(floats(2, 3)), expected, rtol=1e-12)


def test_tied_weights_are_saved_twice_and_loaded_once(tmp_path: Any) -> None:
    layer = nn.Linear(2, 2)
    model = TorchWrapper(nn.Sequential(layer, nn.Tanh(), layer))
    to_safetensors(model, tmp_path / "tied.safetensors")
    assert {*safetensors.load_file(tmp_path / "tied.safetensors")} == {
        "0.weight", "0.bias", "2.weight", "2.bias"
    }  # fmt: skip
    before = model.to_bytes()
    model.set_param("0.bias", [5.0, 5.0])
    from_safetensors(model, tmp_path / "tied.safetensors")
    assert model.to_bytes() == before


def test_files_that_do_not_fit_leave_the_model_unchanged(tmp_path: Any) -> None:
    model = trained()
    before = model.to_bytes()
    (tmp_path / "words").write_text("no weights")
    safetensors.save_file(nn.Linear(3, 2).state_dict(), tmp_path / "other")
    wide = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5)).double()
    safetensors.save_file(wide.state_dict(), tmp_path / "wide")
    for name in ("words", "other", "wide"):
        with raises(cb.FormatError, "torch(Sequential)"):
            from_safetensors(model, tmp_path / name)
    assert model.to_bytes() == before


def test_take_weights_fails_for_modules_that_do_not_fit() -> None:
    model = trained()
    before = model.to_bytes()
    with raises(cb.InputError, "'2.weight'", "'weight'"):
        take_weights(model, nn.Linear(3, 2))
    with raises(cb.DimensionError, "2.weight", "(2, 4)", "(5, 4)"):
        take_weights(model, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5)))
    assert model.to_bytes() == before
    with raises(cb.InputError, "TorchWrapper", "linear"):
        unwrap(cb.Linear(2, 3))


def test_unwrap_returns_a_wrapped_combinet_model() -> None:
    model = TorchWrapper(as_torch(cb.Linear(2, 3).initialize(dtype="float64")))
    model.set_param("linear/b", [1.0, 2.0])
    found = unwrap(model)(torch.tensor(floats(4, 3))).detach()
    np.testing.assert_allclose(found, model.predict(floats(4, 3)), rtol=1e-12)

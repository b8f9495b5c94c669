"""Weights as safetensors: other libraries read the files; a failed load changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import combinet as cb
from cases import CASES, Case
from combinet.storage import file_format
from helpers.arrays import floats, ids
from helpers.errors import raises
from helpers.optimizers import weights

pytest.importorskip("safetensors")

import safetensors
import safetensors.numpy

from combinet.interop.safetensors import from_safetensors, to_safetensors


def tagger(nO: int | None = 4, nI: int | None = 3) -> Any:
    return cb.Linear(nO, nI) >> cb.Maxout(2, pieces=2) >> cb.Linear(3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_save_and_load_restores_the_weights(case: Case, tmp_path: Path) -> None:
    model = case.make().copy().initialize(case.X, dtype="float64", rng=1)
    other = case.make().copy().initialize(case.X, dtype="float64", rng=2)
    to_safetensors(model, tmp_path / "weights")
    assert from_safetensors(other, tmp_path / "weights") is other
    expected = weights(model)
    found = weights(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_libraries_read_the_file(dtype: str, tmp_path: Path) -> None:
    model = tagger().initialize(dtype=dtype, rng=1)
    to_safetensors(model, tmp_path / "weights")
    expected = weights(model)
    loaded = [safetensors.numpy.load_file(tmp_path / "weights")]
    torch = pytest.importorskip("torch")
    tensors = pytest.importorskip("safetensors.torch").load_file(tmp_path / "weights")
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    loaded.append({name: tensor.numpy() for name, tensor in tensors.items()})
    for found in loaded:
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == dtype
            np.testing.assert_array_equal(found[name], value)


def test_arrays_are_written_in_row_major_order(tmp_path: Path) -> None:
    model = cb.Linear(2, 3).initialize()
    model.set_param("W", [[1, 2, 3], [4, 5, 6]])
    to_safetensors(model, tmp_path / "weights")
    data = (tmp_path / "weights").read_bytes()
    assert np.array([1, 2, 3, 4, 5, 6], "<f4").tobytes() in data


def test_shared_layer_is_saved_once(tmp_path: Path) -> None:
    embed = cb.Embed(3, 7)
    model: Any = (embed >> cb.gelu() >> cb.unembed(embed)).initialize()
    to_safetensors(model, tmp_path / "weights")
    assert safetensors.numpy.load_file(tmp_path / "weights").keys() == {"chain >> embed.E"}


def test_dims_are_inferred_from_the_file(tmp_path: Path) -> None:
    model = tagger().initialize(rng=1)
    to_safetensors(model, tmp_path / "weights")
    other = from_safetensors(tagger(None, None), tmp_path / "weights")
    X = floats(5, 3).astype("float32")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_file_written_by_pytorch_can_be_loaded(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    linear = torch.nn.Linear(3, 4)
    save_file({"linear.W": linear.weight, "linear.b": linear.bias}, tmp_path / "weights")
    X = floats(5, 3).astype("float32")
    found = from_safetensors(cb.Linear(), tmp_path / "weights").predict(X)
    np.testing.assert_allclose(found, linear(torch.tensor(X)).detach(), rtol=1e-5)


def test_saving_inside_use_params_saves_the_averages(tmp_path: Path) -> None:
    model, sgd = cb.Linear(2, 3).initialize(rng=1), cb.Adam(0.1, use_averages=True)
    for _ in range(3):
        Y, backprop = model.begin_update(floats(4, 3).astype("float32"))
        backprop(Y, sgd)
    with model.use_params(sgd.averages):
        to_safetensors(model, tmp_path / "weights")
        expected = np.array(model.get_param("W"))
    found = safetensors.numpy.load_file(tmp_path / "weights")["linear.W"]
    np.testing.assert_array_equal(found, expected)
    assert (found != model.get_param("W")).any()


def test_saving_an_uninitialized_model_fails(tmp_path: Path) -> None:
    with raises(cb.StateError, "linear", "weights"):
        to_safetensors(tagger(), tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_safetensors(tagger().initialize(rng=1), tmp_path / "weights")
    before = (tmp_path / "weights").read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(file_format.os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        to_safetensors(tagger().initialize(rng=2), tmp_path / "weights")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("weights", before)]


def _refused(model: Any, path: Path, error: type[Exception], *words: str) -> None:
    before, form = weights(model), repr(model)
    with raises(error, *words):
        from_safetensors(model, path)
    assert repr(model) == form
    for name, value in weights(model).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("prepare", [lambda m: m, lambda m: m.initialize(rng=2)])
def test_different_shape_fails(prepare: Any, tmp_path: Path) -> None:
    to_safetensors(tagger(5, 3).initialize(rng=1), tmp_path / "weights")
    _refused(prepare(tagger(4, 3)), tmp_path / "weights", cb.DimensionError,
             "'chain >> linear[0].W'", "(4, 3)", "(5, 3)")  # fmt: skip


def test_different_number_of_axes_fails(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"linear.W": np.ones(3), "linear.b": np.ones(3)},
                                tmp_path / "weights")  # fmt: skip
    _refused(cb.Linear(3), tmp_path / "weights", cb.DimensionError,
             "'linear.W'", "(3, nI)", "(3,)")  # fmt: skip


def test_contradictory_dims_in_a_file_fail(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"linear.W": np.ones((3, 2)), "linear.b": np.ones(4)},
                                tmp_path / "weights")  # fmt: skip
    _refused(cb.Linear(), tmp_path / "weights", cb.DimensionError, "linear", "4", "3")


def test_different_dtype_fails(tmp_path: Path) -> None:
    to_safetensors(tagger().initialize(dtype="float64"), tmp_path / "weights")
    _refused(tagger().initialize(), tmp_path / "weights", cb.FormatError,
             "'chain >> linear[0].W'", "float32", "float64")  # fmt: skip
    half = {"linear.W": np.ones((2, 2), "float16"), "linear.b": np.ones(2, "float16")}
    safetensors.numpy.save_file(half, tmp_path / "half")
    _refused(cb.Linear(), tmp_path / "half", cb.FormatError,
             "'linear.W'", "float16")  # fmt: skip


def test_different_names_fail(tmp_path: Path) -> None:
    to_safetensors(cb.Linear(2, 3).initialize(), tmp_path / "weights")
    _refused(cb.Softmax(2, 3).initialize(), tmp_path / "weights", cb.FormatError,
             "'softmax.W'", "'softmax.b'", "'linear.W'", "'linear.b'")  # fmt: skip
    to_safetensors(tagger().initialize(), tmp_path / "weights")
    _refused(cb.noop(), tmp_path / "weights", cb.FormatError, "3")  # fmt: skip


def test_other_version_or_corrupt_file_fails(tmp_path: Path) -> None:
    about = {"format": "combinet", "version": "2"}
    one = {"linear.W": np.ones((1, 1)), "linear.b": np.ones(1)}
    safetensors.numpy.save_file(one, tmp_path / "weights", about)
    _refused(cb.Linear(), tmp_path / "weights", cb.FormatError, "2", "1")
    for damaged in (b"", b"no weights", (tmp_path / "weights").read_bytes()[:-1]):
        (tmp_path / "damaged").write_bytes(damaged)
        _refused(cb.Linear(), tmp_path / "damaged", cb.FormatError, "safetensors")
    _refused(cb.Linear(), tmp_path / "nowhere", FileNotFoundError, "nowhere")


def test_dims_of_embed_are_inferred_from_the_file(tmp_path: Path) -> None:
    model = (cb.Embed(3, 7) >> cb.Linear(2)).initialize()
    to_safetensors(model, tmp_path / "weights")
    other: Any = from_safetensors(cb.Embed() >> cb.Linear(), tmp_path / "weights")
    np.testing.assert_array_equal(other.predict(ids(5)), model.predict(ids(5)))


def test_parameters_with_int_axes_can_be_saved_and_loaded(tmp_path: Path) -> None:
    def layer(rows: int) -> Any:
        W = cb.Param((rows, "nO"), cb.initializers.uniform())
        return cb.Model("fixed", lambda model, X, run: (X, X), dims={"nO": 3}, params={"W": W})

    model = layer(2).initialize(rng=1)
    to_safetensors(model, tmp_path / "weights")
    other = from_safetensors(layer(2), tmp_path / "weights")
    np.testing.assert_array_equal(other.get_param("W"), model.get_param("W"))
    _refused(layer(4).initialize(), tmp_path / "weights", cb.DimensionError, "fixed.W", "(4, 3)")

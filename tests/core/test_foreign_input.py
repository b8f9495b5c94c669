"""For input of another type or library, the error says how to convert it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

WORDS = "features"


def _linear() -> Any:
    return cb.Linear(2, 3).initialize()


def _flat() -> Any:
    return cb.with_flatten(_linear())


@pytest.mark.parametrize("make", [_linear, _flat], ids=["array", "list"])
def test_tensors_of_pytorch_are_refused(make: Any) -> None:
    torch = pytest.importorskip("torch")
    X = torch.ones(4, 3)
    with raises(cb.InputError, "torch", "numpy()", "linear" if make is _linear else "with_flatten"):
        make().predict(X if make is _linear else [X])
    with raises(cb.InputError, "torch", "numpy()"):
        cb.Linear(2).initialize(X)
    with raises(cb.InputError, "torch", "numpy()"):
        _linear().begin_update(floats(4, 3).astype("float32"))[1](X)
    with raises(cb.InputError, "torch", "numpy()"):
        cb.CategoricalCrossentropy()(X, [0, 1, 2, 0])


@pytest.mark.parametrize(
    "layer", [cb.list2ragged(), cb.list2array(), cb.list2padded(), cb.with_array(cb.relu())]
)
@pytest.mark.parametrize("count", [1, 2])
def test_lists_of_tensors_are_refused(layer: Any, count: int) -> None:
    torch = pytest.importorskip("torch")
    with raises(cb.InputError, "torch", "numpy()", layer.name):
        layer.predict([torch.ones(4, 3)] * count)


def test_sparse_matrices_of_scipy_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for form in (sparse.csr_matrix, sparse.csr_array):
        with raises(cb.InputError, "scipy", "toarray()", "linear"):
            _linear().predict(form(floats(4, 3)))
        with raises(cb.InputError, "scipy", "toarray()", "with_flatten"):
            _flat().predict([form(floats(4, 3))])


@pytest.mark.parametrize(
    ("X", "hint"),
    [("words", WORDS), (["words"], WORDS), ([[1.0, 2.0]], "asarray"), ([1.0], "asarray")],
)
def test_python_text_and_number_errors_suggest_a_conversion(X: Any, hint: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with raises(cb.InputError, hint, "linear"):
            _linear().predict(X)


@pytest.mark.parametrize("value", [[[1, 2], [3]], "text", [["a", "b", "c"]] * 2])
def test_non_numeric_parameter_values_fail(value: Any) -> None:
    model = _linear()
    before = model.get_param("W")
    with raises(cb.InputError, "linear", "W", "(2, 3)"):
        model.set_param("W", value)
    with raises(cb.InputError, "linear", "W"), model.use_params({(model.id, "W"): value}):
        pass
    assert model.get_param("W") is before


@pytest.mark.parametrize(
    "Y", [np.array([0, 1, 2, 0]), [0, 1, 2, 0], ["a", "b", "a", "c"], np.array(["a", "b"])]
)
def test_sample_of_class_labels_error_suggests_to_categorical(Y: Any) -> None:
    model = cb.Linear(4, 3) >> cb.Softmax()
    with raises(cb.DimensionError, "nO", "softmax", "to_categorical"):
        model.initialize(floats(4, 3), Y)
    classes = cb.to_categorical(np.array([0, 1, 2, 0]))
    assert model.initialize(floats(4, 3), classes).get_dim("nO") == 3


def test_long_error_message_is_cut() -> None:
    error = cb.FormatError(f"expected a short name, got {'x' * 250_000}; rename it")
    assert len(str(error)) < 1100
    assert str(error).startswith("expected a short name")
    assert str(error).endswith("rename it")


@pytest.mark.parametrize(
    ("layer", "hint"),
    [
        (cb.relu, "relu()"),
        (cb.Linear, "Linear()"),
        (np.tanh, "layerize"),
        (abs, "layerize"),
        (cb.CategoricalCrossentropy(), "CategoricalCrossentropy"),
        (cb.Adam(), "Adam"),
    ],
)
def test_functions_in_a_chain(layer: Any, hint: str) -> None:
    with raises(cb.InputError, "chain", hint):
        cb.Linear(2, 3) >> layer


def test_a_class_instead_of_an_optimizer() -> None:
    model = _linear()
    Y, backprop = model.begin_update(floats(4, 3).astype("float32"))
    with raises(cb.InputError, "linear", "class Adam"):
        backprop(Y, cb.Adam)


@pytest.mark.parametrize(
    "loss",
    [cb.CategoricalCrossentropy(), cb.FocalLoss(), cb.BinaryCrossentropy(),
     cb.CategoricalCrossentropy(names=["a", "b"], neg_prefix="!")],
)  # fmt: skip
def test_scores_instead_of_probabilities_raise_no_warning(loss: Any) -> None:
    scores = np.array([[2.0, -1.0], [-3.0, 4.0]])
    binary, names = isinstance(loss, cb.BinaryCrossentropy), getattr(loss, "names", None)
    truths: Any = [[0, 1], [1, 0]] if binary else ["!a", "b"] if names else [0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with raises(cb.InputError, "probabilities", "-3"):
            loss(scores, truths)

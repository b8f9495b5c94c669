"""Every public layer and combinator satisfies every invariant; wrong layers do not."""

import inspect
from typing import Any

import pytest

import combinet as cb
from cases import CASES, Case
from combinet import testing
from helpers.arrays import floats, ids
from helpers.errors import raises


@pytest.mark.parametrize("invariant", testing.INVARIANTS, ids=lambda invariant: invariant.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_layer_satisfies_the_invariant(case: Case, invariant: Any) -> None:
    case.check(invariant)


@pytest.mark.parametrize("case", [case for case in CASES if case.drop], ids=lambda case: case.id)
def test_gradient_with_dropout_is_correct(case: Case) -> None:
    testing.check_backprop(case.make(), case.X, drop=case.drop)


def test_every_public_constructor_has_a_case() -> None:
    makers = {
        name
        for name in cb.__all__
        if inspect.isfunction(getattr(cb, name))
        and "Model[" in str(inspect.signature(getattr(cb, name)).return_annotation)
    }
    assert makers == {case.name for case in CASES}


# Each invariant must be able to fail: these layers break them.


def _wrong_gradient(model: Any, X: Any, run: Any) -> Any:
    return X * 3, lambda dY: dY * 2


def _changes_gradient(model: Any, X: Any, run: Any) -> Any:
    def backprop(dY: Any) -> Any:
        dY *= 2
        return dY

    return X * 2, backprop


def _changes_input(model: Any, X: Any, run: Any) -> Any:
    X += 1
    return X, lambda dY: dY


def _other_in_prediction(model: Any, X: Any, run: Any) -> Any:
    factor = 1.0 if run.train else 0.5
    return X * factor, lambda dY: dY * factor


def _not_saved(model: Any, X: Any, run: Any) -> Any:
    return X * model.id, lambda dY: dY * model.id


def _forgets_gradients(model: Any, X: Any, run: Any) -> Any:
    (W,) = run.params(model, "W")

    def backprop(dY: Any) -> Any:
        model.clear_gradients()
        run.inc_grad(model, W=(dY * X).sum(axis=0))
        return dY * W

    return X * W, backprop


def _reads_weights_late(model: Any, X: Any, run: Any) -> Any:
    (W,) = run.params(model, "W")

    def backprop(dY: Any) -> Any:
        run.inc_grad(model, W=(dY * X).sum(axis=0))
        return dY * run.params(model, "W")[0]

    return X * W, backprop


@pytest.mark.parametrize(
    ("forward", "invariant"),
    [
        (_wrong_gradient, testing.check_backprop),
        (_changes_gradient, testing.check_pure),
        (_changes_input, testing.check_pure),
        (_other_in_prediction, testing.check_predict),
        (_not_saved, testing.check_saving),
        (_forgets_gradients, testing.check_sums),
        (_reads_weights_late, testing.check_interleaved),
    ],
)
def test_invariant_fails_for_a_wrong_layer(forward: Any, invariant: Any) -> None:
    params = {"W": cb.Param(("nI",), cb.ones)}
    model: Any = cb.Model("wrong", forward, dims={"nI": 3}, params=params)
    with pytest.raises((AssertionError, ValueError)):
        invariant(model, floats(5, 3))


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda dY: (dY, dY), "integers"),
        (lambda dY: (None, None), "gradient ... 1"),
        (lambda dY: None, "gradient ... 1"),
    ],
)
def test_check_backprop_checks_each_item_of_a_tuple(gradient: Any, words: str) -> None:
    model: Any = cb.layerize(lambda X: (X[1] * 1.0, gradient))
    with raises(AssertionError, words):
        testing.check_backprop(model, (ids(3), floats(3)))


def test_check_backprop_fails_for_a_buffer_without_gradient() -> None:
    params = {"mean": cb.Param(("nI",), cb.zeros, ema_rate=0.1)}
    model: Any = cb.Model("wrong", lambda model, X, run: (X, lambda dY: dY), dims={"nI": 3},
                          params=params)  # fmt: skip
    with raises(AssertionError, "mean", "gradient"):
        testing.check_backprop(model, floats(5, 3))


def test_unnecessary_skip_fails() -> None:
    case = Case("noop", cb.noop, floats(5, 3), skip={testing.check_pure: "none"})
    case.check(testing.check_copy)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        case.check(testing.check_pure)


def test_check_copy_fails_for_a_shared_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = cb.Linear(3, 3)
    monkeypatch.setattr(cb.Model, "copy", lambda self: self)
    with pytest.raises(AssertionError, match="shared"):
        testing.check_copy(shared, floats(5, 3))


@pytest.mark.parametrize("X", [floats(2, 3).astype("f"), [floats(2, 3).astype("f")]])
def test_check_layer_fails_for_float32_samples(X: Any) -> None:
    with raises(cb.InputError, "float64", "float32"):
        testing.check_layer(cb.with_flatten(cb.relu()), X)

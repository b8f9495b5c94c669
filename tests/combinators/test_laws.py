"""The laws of docs/laws.md: values, gradients of the input and of the parameters, and bytes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet.batches.structure import map_arrays
from combinet.testing.strategies import batches, models
from helpers.models import pending_gradients, set_params

WIDTH = 3
law = settings(max_examples=25, deadline=None)


def ready(*layers: Any) -> None:
    """Initializes layers with random weights, including biases."""
    rng = np.random.default_rng(0)
    for layer in layers:
        layer.initialize(np.ones((1, WIDTH)), rng=1, dtype="float64")
        set_params(layer, lambda W: W + rng.normal(0, 0.3, W.shape))


def passed(model: Any, X: Any) -> list[Any]:
    """The output, the gradient of the input, and those of the parameters, which are cleared."""
    Y, backprop = model.begin_update(X)
    dX = backprop(map_arrays(Y, np.cos))
    gradients = pending_gradients(model)
    model.clear_gradients()
    return [*arrays(Y), *arrays(dX), *gradients]


def arrays(batch: Any) -> list[Any]:
    found: list[Any] = []
    map_arrays(batch, lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
    return found


def assert_equal(X: Any, one: Any, other: Any, exact: bool = True) -> None:
    """The two models compute the same, and have the same parameters in the same order."""
    for a, b in zip(passed(one, X), passed(other, X), strict=True):
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def apart(f: Any) -> Any:
    """A chain or concatenation that the next one does not flatten, because it has a name."""
    f.name = "apart"
    return f


@law
@given(models(), models(), models(), batches())
def test_chain_is_associative(f: Any, g: Any, h: Any, X: Any) -> None:
    ready(f >> g >> h)
    left, right = (f >> g) >> h, f >> (g >> h)
    assert left.layers == right.layers == cb.chain(f, g, h).layers
    assert left.to_bytes() == right.to_bytes()
    assert_equal(X, left, right)
    assert_equal(X, apart(f >> g) >> h, f >> apart(g >> h))


@law
@given(models(), models(), models(), batches())
def test_concatenate_is_associative(f: Any, g: Any, h: Any, X: Any) -> None:
    ready(f | g | h)
    left, right = (f | g) | h, f | (g | h)
    assert left.layers == right.layers == cb.concatenate(f, g, h).layers
    assert left.to_bytes() == right.to_bytes()
    assert_equal(X, left, right)
    assert_equal(X, apart(f | g) | h, f | apart(g | h), exact=False)


@law
@given(models(), models(), models(), batches())
def test_add_is_associative_and_commutative_up_to_rounding(f: Any, g: Any, h: Any, X: Any) -> None:
    ready(f + g + h)
    assert_equal(X, (f + g) + h, f + (g + h), exact=False)
    ours, theirs = passed(f + g, X)[:2], passed(g + f, X)[:2]
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-11)


def test_sums_in_another_order_round_differently() -> None:
    scale = [cb.layerize(lambda X, s=s: (s * X, lambda dY, s=s: s * dY)) for s in (0.1, 0.2, 0.3)]  # type: ignore[misc]
    f, g, h = scale
    X = np.ones((1, 1))
    assert ((f + g) + h).predict(X) != (f + (g + h)).predict(X)


@law
@given(models(), batches())
def test_noop_is_the_identity_of_chain(f: Any, X: Any) -> None:
    ready(f)
    for model in (cb.noop() >> f, f >> cb.noop(), cb.chain(f)):
        assert_equal(X, model, f)
    assert (cb.noop() >> f).to_bytes() != f.to_bytes()


@law
@given(models(), models(), models(), batches())
def test_chain_distributes_over_concatenate_and_add(f: Any, g: Any, h: Any, X: Any) -> None:
    ready(h >> (f | g))
    assert_equal(X, h >> (f | g), (h >> f) | (h >> g), exact=False)
    assert_equal(X, h >> (f + g), (h >> f) + (h >> g), exact=False)


@law
@given(models(), batches())
def test_residual_is_the_sum_with_noop(f: Any, X: Any) -> None:
    ready(f)
    assert_equal(X, cb.residual(f), cb.noop() + f)


@law
@given(models(), st.integers(0, 3), batches())
def test_power_is_a_chain_of_copies(f: Any, n: int, X: Any) -> None:
    ready(f)
    assert_equal(X, f**n, cb.chain(*(f.copy() for _ in range(n))))
    # Copies have gradients of their own; the same layer n times sums them.
    same, power = cb.chain(*[f] * n), f**n
    for a, b in zip(passed(same, X)[:2], passed(power, X)[:2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_copies_of_a_layer_without_weights_start_differently() -> None:
    power = (cb.Linear(3, 3) ** 2).initialize()
    assert not np.array_equal(power[0].get_param("W"), power[1].get_param("W"))


@law
@given(models(), models(), batches("list"))
def test_with_flatten_distributes_over_chain(f: Any, g: Any, X: Any) -> None:
    ready(f >> g)
    assert_equal(X, cb.with_flatten(f >> g), cb.with_flatten(f) >> cb.with_flatten(g))


@law
@given(models(), models(), batches("ragged", levels=2))
def test_with_array_distributes_over_chain_at_any_depth(f: Any, g: Any, X: Any) -> None:
    ready(f >> g)
    assert_equal(X, cb.with_array(f >> g), cb.with_array(f) >> cb.with_array(g))


@pytest.mark.parametrize("kind", ["floats2d", "ids", "list", "ragged", "padded"])
def test_models_accept_their_batches(kind: str) -> None:
    @settings(max_examples=20, deadline=None)
    @given(models(kind), batches(kind, empty=False))
    def accepted(model: Any, X: Any) -> None:
        model.initialize(X, dtype="float64")
        Y = model.predict(X)
        assert len(Y) == len(X)
        assert arrays(Y)[0].shape[-1] == WIDTH

    accepted()


def test_strategies_name_the_kinds() -> None:
    for strategy in (batches, models):
        with pytest.raises(cb.InputError, match="floats2d"):
            strategy("words")


@law
@given(models(), st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_wrapped_layer_processes_each_sequence_independently(f: Any, ns: Any) -> None:
    ready(f)
    X = [np.random.default_rng(i).normal(size=(n, WIDTH)) for i, n in enumerate(ns)]
    rows, alone = np.concatenate(X), [f.predict(x) for x in X]
    back = cb.list2padded() >> cb.with_array(f) >> cb.padded2list()
    by_lists = cb.list2ragged() >> cb.with_list(cb.with_flatten(f)) >> cb.ragged2list()
    for model in (cb.with_flatten(f), cb.with_array(f), back, by_lists):
        for found, expected in zip(model.predict(X), alone, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    ragged = cb.with_array(f).predict(cb.Ragged(rows, ns))
    np.testing.assert_allclose(ragged.data, np.concatenate(alone), rtol=1e-9, atol=1e-11)

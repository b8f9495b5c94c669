"""Borrowed weights: inside a `with` block, and not one moment longer."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, StateError


def scale(value: float) -> Any:
    """A layer with one weight: Y = w * X + 0."""
    model = cb.Linear(1, 1, init_W=lambda shape, rng: np.full(shape, value))
    return model.initialize(dtype="float64")


ONE = np.ones((1, 1))


def weight(model: Any) -> float:
    return float(model.get_param("W").item())


def test_averages_of_an_optimizer_stand_in_for_the_weights() -> None:
    model, sgd = scale(4.0), cb.SGD(1.0, grad_clip=0)
    for _ in range(2):  # w = 4, 3, 2; with d = 2/11, 3/12: the mean of W and what was
        model.begin_update(ONE)[1](ONE, sgd)
    mean = 4 + (1 - 2 / 11) * (3 - 4)
    mean += (1 - 3 / 12) * (2 - mean)
    with model.use_params(sgd.averages):
        assert weight(model) == pytest.approx(mean)
        assert model.predict(ONE).item() == pytest.approx(model.get_param("b").item() + mean)
    assert weight(model) == 2


def test_own_arrays_stand_in_in_the_models_dtype() -> None:
    model = cb.Linear(1, 1).initialize()
    own = {(model.id, "W"): np.array([[7.0]]), (model.id, "b"): np.array([1.0])}
    with model.use_params(own):
        Y = model.predict(np.ones((1, 1), "f"))
        assert Y.item() == 8.0
        assert Y.dtype == np.float32
    assert model.predict(np.ones((1, 1), "f")).item() != 8.0


def test_what_is_not_named_stays_and_other_models_weights_are_left_alone() -> None:
    one, two, other = scale(2.0), scale(3.0), scale(5.0)
    model = one >> two
    with model.use_params({(one.id, "W"): 10 * ONE, (other.id, "W"): 10 * ONE}):
        assert (weight(one), weight(two), weight(other)) == (10, 3, 5)


def test_blocks_nest() -> None:
    one, two = scale(2.0), scale(3.0)
    model = one >> two
    with model.use_params({(one.id, "W"): 10 * ONE, (two.id, "W"): 20 * ONE}):
        with model.use_params({(one.id, "W"): 100 * ONE}):
            assert (weight(one), weight(two)) == (100, 20)
        assert (weight(one), weight(two)) == (10, 20)
    assert (weight(one), weight(two)) == (2, 3)


@pytest.mark.parametrize("first", [0, 1])
def test_blocks_that_overlap_end_one_by_one(first: int) -> None:
    model = scale(2.0)
    blocks = [model.use_params({(model.id, "W"): value * ONE}) for value in (10, 20)]
    for block in blocks:
        block.__enter__()
    assert weight(model) == 20
    blocks.pop(first).__exit__(None, None, None)
    assert weight(model) == (20, 10)[first]
    blocks.pop().__exit__(None, None, None)
    assert weight(model) == 2
    model.set_param("W", 3 * ONE)
    assert weight(model) == 3


def test_weights_of_other_models_alone_are_refused() -> None:
    model, sgd = scale(2.0), cb.SGD(1.0)
    with model.use_params(sgd.averages):  # none yet
        assert weight(model) == 2
    model.begin_update(ONE)[1](ONE, sgd)
    with (
        pytest.raises(StateError, match=r"none of these weights are of linear: a copy .*averages"),
        model.copy().use_params(sgd.averages),
    ):
        pass


def test_an_exception_ends_the_block_too() -> None:
    model = scale(2.0)
    with pytest.raises(KeyError), model.use_params({(model.id, "W"): 10 * ONE}):
        raise KeyError("inside")
    assert weight(model) == 2
    model.set_param("W", 3 * ONE)


@pytest.mark.parametrize("value", [np.ones((2, 1)), np.ones(1), [[1.0, 2.0]], 1.0])
def test_wrong_shapes_are_refused_and_nothing_is_borrowed(value: Any) -> None:
    one, two = scale(2.0), scale(3.0)
    model = one >> two
    with (
        pytest.raises(DimensionError, match=r"W is \(1, 1\), not"),
        model.use_params({(one.id, "W"): 10 * ONE, (two.id, "W"): value}),
    ):
        pytest.fail("the block was entered")
    assert (weight(one), weight(two)) == (2, 3)
    one.set_param("W", ONE)


def begun(model: Any) -> Callable[[Any, Any], Any]:
    return model.begin_update(ONE)[1]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.finish_update(cb.SGD(0.1)),
        lambda model: begun(model)(ONE, cb.SGD(0.1)),
        lambda model: (model >> scale(1.0)).finish_update(cb.SGD(0.1)),
        lambda model: model.resize_output(2),
        lambda model: model.resize_input(2),
        lambda model: model.set_param("W", ONE),
        lambda model: model.from_bytes(scale(3.0).to_bytes()),
        lambda model: model.initialize(),
        lambda model: model.copy(),
        lambda model: model**2,
        lambda model: model._move(cb.CupyOps.__new__(cb.CupyOps)),
    ],
    ids=["update", "backprop", "whole", "output", "input", "set", "load", "init", "copy", "clone",
         "move"],
)  # fmt: skip
def test_changes_of_borrowed_weights_are_refused(change: Any) -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        with pytest.raises(StateError, match="overridden"):
            change(model)
        assert weight(model) == 10
    assert weight(model) == 2
    assert model.get_param("W").shape == (1, 1)


def test_gradients_may_be_collected_inside_and_applied_after() -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        assert begun(model)(ONE, None).item() == 10
    model.finish_update(cb.SGD(1.0, grad_clip=0))
    assert weight(model) == 1


def test_a_pass_keeps_the_weights_that_it_began_with() -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        inside = begun(model)
    outside = begun(model)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        assert outside(ONE, None).item() == 2
    assert inside(ONE, None).item() == 10


def test_saving_inside_saves_the_borrowed_weights() -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        data = model.to_bytes()
    assert weight(cb.Linear(1, 1).from_bytes(data)) == 10
    assert weight(model) == 2


def test_an_update_afterwards_does_not_change_what_was_borrowed() -> None:
    model, sgd = scale(2.0), cb.SGD(1.0, grad_clip=0)
    model.begin_update(ONE)[1](ONE, sgd)
    averages = sgd.averages
    before = averages[model.id, "W"].item()
    with model.use_params(averages):
        pass
    model.begin_update(ONE)[1](ONE, sgd)
    assert averages[model.id, "W"].item() == before
    assert sgd.averages[model.id, "W"].item() != before


def test_the_average_of_what_is_set_starts_again_there() -> None:
    one, two = scale(2.0), scale(3.0)
    model = (one >> two).initialize()
    sgd = cb.SGD(1.0, grad_clip=0, average_decay=0.5)
    one.begin_update(ONE)[1](ONE, sgd)  # now there are averages, of the other layer too
    taken = model.averages
    two.set_param("W", 7 * ONE)
    assert weight(one) == 1
    assert model.averages[two.id, "W"].item() == 7
    assert model.averages[one.id, "W"].item() == pytest.approx(2 - (1 - 2 / 11))
    assert taken[two.id, "W"].item() == 3
    two.begin_update(ONE)[1](ONE, sgd)
    assert model.averages[two.id, "W"].item() == pytest.approx(7 - (1 - 2 / 11))


def test_other_threads_see_the_borrowed_weights() -> None:
    model, seen = scale(2.0), []
    with model.use_params({(model.id, "W"): 10 * ONE}):
        thread = threading.Thread(target=lambda: seen.append(model.predict(ONE).item()))
        thread.start()
        thread.join()
    assert seen == [10]

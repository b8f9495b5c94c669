"""`use_params` overrides weights inside a `with` block and restores them afterwards."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, StateError
from helpers.errors import raises
from helpers.models import scale

ONE = np.ones((1, 1))


def weight(model: Any) -> float:
    return float(model.get_param("W").item())


def test_use_params_overrides_the_weights_by_averages() -> None:
    model, sgd = scale(4.0), cb.SGD(1.0, grad_clip=0)
    for _ in range(2):  # w = 4, 3, 2; the decays are 2/11 and 3/12
        model.begin_update(ONE)[1](ONE, sgd)
    mean = 4 + (1 - 2 / 11) * (3 - 4)
    mean += (1 - 3 / 12) * (2 - mean)
    with model.use_params(sgd.averages):
        assert weight(model) == pytest.approx(mean)
        assert model.predict(ONE).item() == pytest.approx(model.get_param("b").item() + mean)
    assert weight(model) == 2


def test_use_params_casts_arrays_to_the_dtype_of_the_model() -> None:
    model = cb.Linear(1, 1).initialize()
    own = {(model.id, "W"): np.array([[7.0]]), (model.id, "b"): np.array([1.0])}
    with model.use_params(own):
        Y = model.predict(np.ones((1, 1), "f"))
        assert Y.item() == 8.0
        assert Y.dtype == np.float32
    assert model.predict(np.ones((1, 1), "f")).item() != 8.0


def test_use_params_changes_only_named_weights_of_its_model() -> None:
    one, two, other = scale(2.0), scale(3.0), scale(5.0)
    model = one >> two
    with model.use_params({(one.id, "W"): 10 * ONE, (other.id, "W"): 10 * ONE}):
        assert (weight(one), weight(two), weight(other)) == (10, 3, 5)


def test_nested_blocks_restore_the_outer_override() -> None:
    one, two = scale(2.0), scale(3.0)
    model = one >> two
    with model.use_params({(one.id, "W"): 10 * ONE, (two.id, "W"): 20 * ONE}):
        with model.use_params({(one.id, "W"): 100 * ONE}):
            assert (weight(one), weight(two)) == (100, 20)
        assert (weight(one), weight(two)) == (10, 20)
    assert (weight(one), weight(two)) == (2, 3)


@pytest.mark.parametrize("first", [0, 1])
def test_overlapping_blocks_can_end_in_any_order(first: int) -> None:
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


def test_use_params_fails_if_no_weight_belongs_to_the_model() -> None:
    model, sgd = scale(2.0), cb.SGD(1.0)
    with model.use_params(sgd.averages):  # still empty
        assert weight(model) == 2
    model.begin_update(ONE)[1](ONE, sgd)
    with (
        raises(StateError, "linear", "averages"),
        model.copy().use_params(sgd.averages),
    ):
        pass


def test_exception_restores_the_weights() -> None:
    model = scale(2.0)
    with pytest.raises(KeyError), model.use_params({(model.id, "W"): 10 * ONE}):
        raise KeyError("inside")
    assert weight(model) == 2
    model.set_param("W", 3 * ONE)


@pytest.mark.parametrize("value", [np.ones((2, 1)), np.ones(1), [[1.0, 2.0]], 1.0])
def test_wrong_shapes_fail_and_override_nothing(value: Any) -> None:
    one, two = scale(2.0), scale(3.0)
    model = one >> two
    with (
        raises(DimensionError, "W", "(1, 1)"),
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
def test_overridden_weights_cannot_be_changed(change: Any) -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        with raises(StateError, "use_params"):
            change(model)
        assert weight(model) == 10
    assert weight(model) == 2
    assert model.get_param("W").shape == (1, 1)


def test_gradients_from_inside_can_be_applied_afterwards() -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        assert begun(model)(ONE, None).item() == 10
    model.finish_update(cb.SGD(1.0, grad_clip=0))
    assert weight(model) == 1


def test_pass_keeps_the_weights_that_it_started_with() -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        inside = begun(model)
    outside = begun(model)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        assert outside(ONE, None).item() == 2
    assert inside(ONE, None).item() == 10


def test_saving_inside_saves_the_override() -> None:
    model = scale(2.0)
    with model.use_params({(model.id, "W"): 10 * ONE}):
        data = model.to_bytes()
    assert weight(cb.Linear(1, 1).from_bytes(data)) == 10
    assert weight(model) == 2


def test_later_update_does_not_change_the_arrays_of_the_override() -> None:
    model, sgd = scale(2.0), cb.SGD(1.0, grad_clip=0)
    model.begin_update(ONE)[1](ONE, sgd)
    averages = sgd.averages
    before = averages[model.id, "W"].item()
    with model.use_params(averages):
        pass
    model.begin_update(ONE)[1](ONE, sgd)
    assert averages[model.id, "W"].item() == before
    assert sgd.averages[model.id, "W"].item() != before


def test_set_param_restarts_the_average_at_the_new_value() -> None:
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


def test_other_threads_see_the_override() -> None:
    model, seen = scale(2.0), []
    with model.use_params({(model.id, "W"): 10 * ONE}):
        thread = threading.Thread(target=lambda: seen.append(model.predict(ONE).item()))
        thread.start()
        thread.join()
    assert seen == [10]

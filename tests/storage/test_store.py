"""Stores: flat arrays that all parameters share, copy on write, and locks."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.storage import file_format
from combinet.storage.slots import Slot
from helpers.models import scale
from helpers.storage import slots_of, stores_of

ONE = np.ones((1, 1))


# -- layout ------------------------------------------------------------------------------------


def test_parameters_share_one_array_and_gradients_another() -> None:
    model = cb.chain(cb.Embed(4, 9), cb.Maxout(3), cb.LayerNorm(), cb.Softmax(2)).initialize()
    model.begin_update(np.arange(9))[1](np.ones((9, 2)))
    (store,), slots = stores_of(model), slots_of(model)
    assert store.gradient is not None
    assert all(np.shares_memory(slot.view, store.weights) for slot in slots)
    assert store.weights.ndim == store.gradient.ndim == 1
    total = sum(slot.view.size for slot in slots)
    assert store.weights.size == store.gradient.size == total
    assert not np.shares_memory(store.weights, store.gradient)
    for node in model.walk():
        for name in node.param_names:
            slot = node.slots[name]
            assert np.array_equal(node.get_grad(name), slot.of(store.gradient))


def _pair() -> Any:
    return cb.Linear(2, 2) >> cb.Linear(2, 2)


def _in_two_stores() -> Any:
    model = _pair()
    for layer in model:
        layer.initialize()
    assert len(stores_of(model)) == 2
    return model


@pytest.mark.parametrize(
    "gathered",
    [
        lambda model: model.initialize(),
        lambda model: _pair().from_bytes(model.to_bytes()),
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: model.copy(),
        lambda model: model.resize_output(6),
    ],
    ids=["initialized", "loaded", "pickled", "copied", "resized"],
)
def test_parameters_of_several_stores_move_into_one(gathered: Callable[[Any], Any]) -> None:
    model = gathered(_in_two_stores())
    (store,) = stores_of(model)
    assert store.size == sum(slot.view.size for slot in slots_of(model))


# -- copy on write -----------------------------------------------------------------------------


def _updated_once() -> tuple[Any, Any]:
    model, sgd = _pair().initialize(), cb.SGD(0.1)
    _update(model, sgd)
    return model, sgd


def _update(model: Any, sgd: Any) -> None:
    Y, backprop = model.begin_update(np.ones((1, 2), "f"))
    backprop(Y, sgd)


def test_update_writes_in_place_if_only_slots_hold_the_arrays() -> None:
    model, sgd = _updated_once()
    (store,) = stores_of(model)
    arrays = [id(store.weights), id(store.gradient), id(store.averages)]
    for _ in range(3):
        _update(model, sgd)
    assert [id(store.weights), id(store.gradient), id(store.averages)] == arrays


@pytest.mark.parametrize(
    "hold",
    [
        lambda model: model.begin_update(np.ones((1, 2), "f")),
        lambda model: model.layers[1].get_param("W"),
        lambda model: model.layers[0].get_param("b")[1:],
    ],
    ids=["callback", "parameter", "view"],
)
def test_update_writes_to_a_copy_if_others_hold_the_weights(hold: Any) -> None:
    model, sgd = _updated_once()
    (store,) = stores_of(model)
    before = store.weights.copy()
    flat, held = id(store.weights), hold(model)
    weights = slots_of(model)[0].view.base
    _update(model, sgd)
    assert weights is not None
    assert id(weights) == flat != id(store.weights)
    np.testing.assert_array_equal(weights, before)
    assert all(np.shares_memory(slot.view, store.weights) for slot in slots_of(model))
    del held


# -- locks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [lambda model, sgd: model, lambda model, sgd: sgd])
def test_store_is_locked_while_averages_are_copied(of: Any, monkeypatch: Any) -> None:
    model, sgd = scale(0.0), cb.SGD(0.1)
    model.begin_update(ONE)[1](ONE, sgd)
    taken: list[bool] = []

    def spy(slot: Any, flat: Any) -> Any:
        thread = threading.Thread(target=lambda: taken.append(slot.store.lock.acquire(False)))
        thread.start(), thread.join()
        return view(slot, flat)

    view = Slot.of
    monkeypatch.setattr(Slot, "of", spy)
    assert len(of(model, sgd).averages) == 2
    assert taken == [False, False]


@pytest.mark.parametrize("apart", [False, True], ids=["one-store", "two-stores"])
def test_stores_are_locked_while_saving(apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [cb.Linear(2, 2), cb.Linear(2, 2)]
    for part in parts if apart else [cb.chain(*parts)]:
        part.initialize()
    model, sgd = cb.chain(*parts), cb.SGD(0.1, momentum=0.9)
    Y, backprop = model.begin_update(np.ones((1, 2), "f"))
    backprop(Y, sgd)
    stores = stores_of(model)
    expected = model.to_bytes(), sgd.to_bytes(model)
    free: list[bool] = []

    def is_free(store: Any) -> bool:
        taken = store.lock.acquire(blocking=False)
        if taken:
            store.lock.release()
        return bool(taken)

    def to_host(X: Any) -> Any:
        with ThreadPoolExecutor(1) as thread:
            free.extend(thread.map(is_free, stores))
        return np.array(X)

    monkeypatch.setattr(file_format, "to_host", to_host)
    for save, data in zip((model.to_bytes, lambda: sgd.to_bytes(model)), expected, strict=True):
        free.clear()
        assert save() == data
        assert free
        assert not any(free)
    if not apart:  # pickle locks several stores one after the other
        free.clear()
        pickle.dumps(model)
        assert free
        assert not any(free)
    with ThreadPoolExecutor(1) as thread:
        assert all(thread.map(is_free, stores))

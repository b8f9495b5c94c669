"""Optimizer state in a store: its layout, its lifetime, and resizing."""

import gc
import weakref

import numpy as np

import combinet as cb
from helpers.optimizers import train, whole
from helpers.storage import stores_of


def test_moments_are_freed_with_their_optimizer() -> None:
    model, _ = whole()
    adam, other = cb.Adam(), cb.Adam()
    train(model, adam, range(1))
    train(model, other, range(1))
    (store,) = stores_of(model)
    gone = weakref.ref(store.optimizer_states[adam].arrays["first"])
    kept = weakref.ref(store.optimizer_states[other].arrays["first"])
    del adam
    gc.collect()
    assert gone() is None
    assert kept() is not None


def test_moments_have_the_layout_of_the_store() -> None:
    model, _ = whole()
    adam = cb.Adam()
    train(model, adam, range(1))
    (store,) = stores_of(model)
    state = store.optimizer_states[adam]
    assert {array.shape for array in state.arrays.values()} == {store.weights.shape}
    assert state.by_slot == {}


def test_adafactor_keeps_only_rows_and_columns_of_matrices() -> None:
    model = cb.Linear(30, 20).initialize()
    optimizer = cb.Adafactor()
    model.begin_update(np.ones((1, 20), "f"))[1](np.ones((1, 30), "f"), optimizer)
    (store,) = stores_of(model)
    state = store.optimizer_states[optimizer]
    sizes = [array.size for arrays in state.by_slot.values() for array in arrays.values()]
    assert sorted(sizes) == [20, 30, 30]  # the columns and rows of W, and b
    assert state.arrays == {}
    assert store.averages is None


def test_resize_keeps_step_counts_and_records_resized_slots() -> None:
    model, (first, *_) = whole()
    model = (model >> cb.Linear(2, 4)).initialize()
    adam = cb.Adam()
    train(model, adam, range(3))
    model.resize_output(3)
    (store,) = stores_of(model)
    state = store.optimizer_states[adam]
    assert state.steps.tolist() == [3] * 8
    last = model.layers[-1]
    assert state.resized_at == {slot.number: 3 for slot in last.slots.values()}
    train(model, adam, range(2))
    counts = state.steps_of_averages()
    assert [int(counts[slot.number]) for slot in last.slots.values()] == [2, 2]
    assert [int(counts[slot.number]) for slot in first.slots.values()] == [5, 5]

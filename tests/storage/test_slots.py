"""Slots: the place of a parameter in a store, its pending gradient, and its overrides."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.storage import slots_of

NV, NO = 30, 4


def test_slots_are_contiguous_in_layer_order_with_buffers_last() -> None:
    model = (cb.Linear(3, 2) >> cb.BatchNorm() >> cb.Embed(2, 5, column=0)).initialize()
    slots = slots_of(model)
    by_place = sorted(slots, key=lambda slot: slot.start)
    assert [slot.number for slot in by_place] == [*range(len(slots))]
    assert [slot.start for slot in by_place] == [0, *(slot.stop for slot in by_place[:-1])]
    assert by_place == sorted(slots, key=lambda slot: slot.ema_rate is not None)


@pytest.mark.parametrize(
    ("layer", "name", "transposed"), [(cb.Linear(3, 2), "W", True), (cb.Embed(3, 2), "E", False)]
)
def test_weights_are_column_major_and_tables_row_major(
    layer: Any, name: str, transposed: bool
) -> None:
    layer.initialize()
    slot = layer.slots[name]
    values = slot.store.weights[slot.start : slot.stop].tolist()
    W = layer.get_param(name)
    assert values == (W.T if transposed else W).ravel().tolist()
    assert (W.T if transposed else W).flags.c_contiguous


def test_last_override_applies_even_if_an_earlier_one_ends_first() -> None:
    layer = cb.Linear(1, 1).initialize()
    slot, own = layer.slots["W"], layer.get_param("W")
    blocks, values = [object(), object()], [np.full((1, 1), value, "f") for value in (1, 2)]
    for block, value in zip(blocks, values, strict=True):
        slot.override(block, value)
    assert slot.value is values[1]
    slot.restore(blocks[0])
    assert slot.value is values[1]
    slot.restore(blocks[1])
    assert slot.value is own


@pytest.mark.parametrize("options", [{}, {"L2": 0.1, "L2_is_weight_decay": False}], ids=str)
def test_gradient_is_zero_after_a_sparse_update(options: Any) -> None:
    model, rng = cb.Embed(NO, NV).initialize(rng=0, dtype="float64"), np.random.default_rng(1)
    for seed in range(2):
        _, backprop = model.begin_update(rng.integers(0, NV, 6))
        backprop(floats(6, NO, seed=seed), cb.Adam(sparse=True, **options))
        (slot,) = slots_of(model)
        assert slot.grad.is_zero
        assert slot.grad.rows is None
        assert slot.store.gradient is not None
        assert not slot.store.gradient.any()

"""Slots and stores of a model. Only the tests of storage may read their fields."""

from typing import Any

from combinet.storage.slots import Slot
from combinet.storage.store import Store


def slots_of(model: Any) -> list[Slot]:
    return [*model.slots_by_path().values()]


def stores_of(model: Any) -> list[Store]:
    """The distinct stores of all parameters."""
    return [*dict.fromkeys(slot.store for slot in slots_of(model))]

"""Workspace: memory is reused only if no array refers to it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.ops import workspace
from combinet.ops.workspace import Workspace

FLOAT = np.dtype("float32")
N = 50_000


def empty(space: Workspace, n: int = N) -> Any:
    return space.empty((n,), FLOAT, n * FLOAT.itemsize)


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_released_memory_is_reused() -> None:
    space = Workspace()
    first = empty(space)
    where = address(first)
    second = empty(space)
    assert not np.shares_memory(first, second)
    del first
    assert address(empty(space, N - 100)) == where
    assert len(space.blocks) == 1


@pytest.mark.parametrize("view", [
    lambda X: X[::2], lambda X: X.reshape(100, -1).T, lambda X: X.view("int32")[5:], memoryview,
])  # fmt: skip
def test_memory_is_not_reused_while_a_view_exists(view: Any) -> None:
    space = Workspace()
    array = empty(space)
    where, held = address(array), view(array)
    del array
    assert address(empty(space)) != where
    del held
    assert address(empty(space)) == where


def test_arrays_do_not_overlap_and_start_at_a_cache_line() -> None:
    space = Workspace()
    for n in (1, 2**15, 2**15 - 1, 2**15 + 1):
        arrays = [empty(space, n) for _ in range(70)]
        for i, array in enumerate(arrays):
            array[...] = i
        for i, array in enumerate(arrays):
            assert (array == i).all()
            assert address(array) % 64 == 0


def test_arrays_beyond_the_number_of_kept_blocks_stay_valid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workspace, "_MOST", 3)
    space = Workspace()
    arrays = [empty(space, 100) for _ in range(8)]
    for i, array in enumerate(arrays):
        array[...] = i
    assert [array[0] for array in arrays] == list(range(8))
    assert len(*space.blocks.values()) == 3


def test_unused_memory_is_released_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Workspace()
    held, kept = empty(space), [empty(space, 8 * N) for _ in range(3)]
    del kept
    monkeypatch.setattr(workspace, "_LIMIT", N)
    empty(space, 2 * N)
    assert space.total < 8 * N * FLOAT.itemsize
    assert held.base is not None


def test_threads_have_separate_memory() -> None:
    space = Workspace()
    where = [address(empty(space))]
    other = threading.Thread(target=lambda: where.append(len(space.blocks)))
    other.start()
    other.join()
    assert where[1] == 0


def test_later_passes_do_not_change_held_predictions() -> None:
    model = cb.Gelu(300, 200).initialize()
    batches = [np.random.default_rng(i).normal(size=(400, 200)).astype("f") for i in range(4)]
    kept = [model.predict(X) for X in batches]
    copies = [Y.copy() for Y in kept]
    for X in batches:
        Y, backprop = model.begin_update(X)
        backprop(Y, cb.SGD(0.0))
    for Y, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(Y, copy)

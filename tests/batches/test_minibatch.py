"""minibatch: divides data of any form into batches, in order or shuffled."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

DOCS = [floats(n, 2, seed=n) for n in (3, 1, 0, 4, 2, 5, 1)]


def joined(batches: list[Any]) -> list[Any]:
    return [each for batch in batches for each in batch]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_batches_contain_all_items_in_order(size: int) -> None:
    batches = list(cb.minibatch(size, DOCS))
    assert [len(batch) for batch in batches] == [
        min(size, 7 - start) for start in range(0, 7, size)
    ]
    assert all(a is b for a, b in zip(joined(batches), DOCS, strict=True))


def test_batch_sizes_follow_a_schedule() -> None:
    sizes = cb.compounding(1.0, 4.0, 1.5)  # 1, 1.5, 2.25, 3.375, 4, ...
    assert [len(b) for b in cb.minibatch(sizes, list(range(14)))] == [1, 1, 2, 3, 4, 3]


@pytest.mark.parametrize("rng", [None, 3])
@pytest.mark.parametrize(
    "form", [list, tuple, cb.list2ragged().predict, cb.list2padded().predict], ids=str
)
def test_batches_have_the_type_of_the_data(form: Any, rng: Any) -> None:
    X = form(DOCS)
    parts = list(cb.minibatch(3, X, np.arange(7), rng=rng))
    assert [type(part) for part, _ in parts] == [type(X)] * 3
    order = np.concatenate([numbers for _, numbers in parts])
    assert (order.tolist() == list(range(7))) == (rng is None)
    assert sorted(order.tolist()) == list(range(7))
    back: Any = {cb.Ragged: cb.ragged2list(), cb.Padded: cb.padded2list()}.get(type(X), cb.noop())
    for found, i in zip(joined([back.predict(part) for part, _ in parts]), order, strict=True):
        np.testing.assert_array_equal(found, DOCS[i])


def test_order_is_drawn_from_the_given_generator() -> None:
    rng = np.random.default_rng(5)
    before = np.random.get_state()[1].copy()
    first, second = (joined(list(cb.minibatch(4, list(range(50)), rng=rng))) for _ in range(2))
    assert first != second
    assert joined(list(cb.minibatch(4, list(range(50)), rng=5))) == first
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_empty_data_gives_no_batches() -> None:
    assert list(cb.minibatch(3, [])) == []
    assert list(cb.minibatch(3, [], [], rng=0)) == []


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((2, [1, 2], [1]), cb.DimensionError, "[2, 1]"),
        ((0, [1, 2]), cb.InputError, "int ... 0"),
        ((2.5, [1, 2]), cb.InputError, "int ... 2.5"),
        ((lambda i: 1 - i, [1, 2]), cb.InputError, "int ... 0"),
        ((2, iter([1, 2])), cb.InputError, "list_iterator"),
    ],
)
def test_invalid_arguments_are_refused(args: Any, error: Any, message: str) -> None:
    with raises(error, message):
        list(cb.minibatch(*args))


def test_gpu_matches_cpu_and_copies_nothing_to_the_host(strict: Any) -> None:
    rows = floats(5, 3)
    X = cb.CupyOps(0).asarray(rows)
    with strict.counting() as counted:
        batches = list(cb.minibatch(2, X, rng=0))
    assert counted.to_host == 0, counted.reasons
    for found, expected in zip(batches, cb.minibatch(2, rows, rng=0), strict=True):
        np.testing.assert_array_equal(found.get(), expected)

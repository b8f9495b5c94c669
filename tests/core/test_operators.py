"""Operators: their meanings, their scope, and the algebra of the combinators."""

import asyncio
import threading
from functools import reduce
from operator import rshift
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet import InputError
from combinet.testing.strategies import models
from helpers.errors import raises

L = cb.Linear
WIDTH = 3
SYMBOLS = ("+", "-", "*", "@", "/", "//", "%", "**", "<<", ">>", "&", "^", "|")


def named(a: Any, b: Any) -> str:
    return f"{a.name} and {b.name if isinstance(b, cb.Model) else b}"


# -- meanings ----------------------------------------------------------------------------------


def test_default_operators_are_chain_concatenate_add_and_clone() -> None:
    a, b = L(2, 2), cb.relu()
    assert (a >> b).layers == cb.chain(a, b).layers == (a, b)
    assert [(m.name, m.layers) for m in (a >> b, a | b, a + b)] == [
        ("chain", (a, b)), ("concatenate", (a, b)), ("add", (a, b)),
    ]  # fmt: skip
    power = a**3
    assert [layer.name for layer in power.layers] == ["linear"] * 3
    assert a not in power.layers


@pytest.mark.parametrize("symbol", [s for s in SYMBOLS if s not in (">>", "|", "+", "**")])
def test_undefined_operator_fails(symbol: str) -> None:
    with raises(InputError, symbol):
        eval(f"a {symbol} b", {"a": cb.relu(), "b": cb.noop()})


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_operator_can_be_defined(symbol: str) -> None:
    with cb.Model.define_operators({symbol: named}):
        assert eval(f"a {symbol} b", {"a": cb.relu(), "b": cb.noop()}) == "relu and noop"


def test_right_operand_can_be_any_value_that_the_function_accepts() -> None:
    with cb.Model.define_operators({"*": named}):
        assert cb.relu() * 3 == "relu and 3"
    with raises(InputError, "int"):
        cb.relu() >> 3


@pytest.mark.parametrize("symbol", ["<", "and", "~", "chain", ""])
def test_define_operators_fails_for_unknown_symbols(symbol: str) -> None:
    with (
        raises(InputError, "operators"),
        cb.Model.define_operators({symbol: cb.chain}),
    ):
        pytest.fail("the block was entered")


def test_nested_blocks_inherit_other_operators() -> None:
    a, b = cb.relu(), cb.noop()
    with cb.Model.define_operators({">>": named, "&": cb.add}):
        with cb.Model.define_operators({">>": cb.concatenate}):
            assert (a >> b).name == "concatenate"
            assert (a & b).name == "add"
            assert (a | b).name == "concatenate"
        assert a >> b == "relu and noop"
    assert (a >> b).name == "chain"
    with pytest.raises(InputError):
        a & b


def test_exception_restores_the_operators() -> None:
    with pytest.raises(KeyError), cb.Model.define_operators({">>": named}):
        raise KeyError("inside")
    assert (cb.relu() >> cb.noop()).name == "chain"


def test_define_operators_copies_the_table() -> None:
    table = {"&": named}
    with cb.Model.define_operators(table):
        table["&"] = cb.chain
        assert cb.relu() & cb.noop() == "relu and noop"


def test_each_thread_has_its_own_operators() -> None:
    seen, inside, looked = [], threading.Event(), threading.Event()

    def define() -> None:
        with cb.Model.define_operators({">>": named}):
            inside.set()
            looked.wait(5)
            seen.append(cb.relu() >> cb.noop())

    thread = threading.Thread(target=define)
    thread.start()
    inside.wait(5)
    outside = cb.relu() >> cb.noop()
    looked.set()
    thread.join()
    assert outside.name == "chain"
    assert seen == ["relu and noop"]


def test_each_asyncio_task_has_its_own_operators() -> None:
    async def task(meaning: Any) -> Any:
        with cb.Model.define_operators({">>": meaning}):
            await asyncio.sleep(0)  # the other task enters its block
            result = cb.relu() >> cb.noop()
            await asyncio.sleep(0)
        return result

    async def both() -> Any:
        return await asyncio.gather(task(named), task(cb.add))

    one, two = asyncio.run(both())
    assert one == "relu and noop"
    assert two.name == "add"


# -- structure ---------------------------------------------------------------------------------


def grouped(draw: Any, layers: list[Any]) -> Any:
    """The layers chained with random grouping."""
    if len(layers) == 1:
        return layers[0]
    cut = draw(st.integers(1, len(layers) - 1))
    return grouped(draw, layers[:cut]) >> grouped(draw, layers[cut:])


@settings(max_examples=40, deadline=None)
@given(st.data(), st.lists(models(), min_size=2, max_size=4))
def test_grouping_of_a_chain_does_not_matter(data: Any, layers: list[Any]) -> None:
    model = grouped(data.draw, layers)
    assert model.layers == reduce(rshift, layers).layers == cb.chain(*layers).layers
    twin = cb.chain(*[each.copy() for each in layers])
    X = floats(2)
    assert model.initialize(X, rng=1).to_bytes() == twin.initialize(X, rng=1).to_bytes()
    assert repr(model) == repr(twin)


def test_nested_concatenations_are_flattened() -> None:
    a, b, c = L(2, 3), L(2, 3), L(2, 3)
    assert ((a | b) | c).layers == (a | (b | c)).layers == (a, b, c)


def floats(n: int, width: int = WIDTH) -> Any:
    return np.random.default_rng(0).normal(size=(n, width))


# -- clone ---------------------------------------------------------------------------------------


def test_zero_clones_are_noop() -> None:
    assert (L(3, 3) ** 0).name == cb.clone(cb.relu(), 0).name == "noop"
    X = floats(2)
    assert (L(3, 3) ** 0).predict(X) is X


def test_one_clone_is_a_copy() -> None:
    f = L(WIDTH).initialize(floats(1), dtype="float64")
    once = f**1
    assert once is not f
    assert np.array_equal(once.predict(floats(2)), f.predict(floats(2)))


def test_sizes_accept_numpy_integers() -> None:
    two: Any = np.int64(2)
    assert len(cb.clone(cb.relu(), two).layers) == len(cb.LSTM(4, 3, depth=two).layers) == 2
    assert cb.clone(cb.relu(), np.int64(0)).name == "noop"  # type: ignore[arg-type]
    assert cb.expand_window(two).predict(floats(3, 1)).shape == (3, 5)


def test_clones_are_initialized_independently() -> None:
    model = (L(3, 3) ** 2).initialize()
    W1, W2 = (each.get_param("W") for each in model.layers)
    assert not np.array_equal(W1, W2)


@pytest.mark.parametrize("n", [-1, 1.5, "2", None])
def test_clone_fails_unless_the_count_is_an_integer(n: Any) -> None:
    with raises(InputError, "0"):
        cb.clone(cb.relu(), n)


def test_combinators_fail_for_arguments_that_are_not_models() -> None:
    for combine in (cb.chain, cb.concatenate, cb.add, cb.residual, cb.with_flatten):
        with raises(InputError, "int"):
            combine(3)


def test_concatenate_and_add_fail_without_layers() -> None:
    for combine in (cb.concatenate, cb.add):
        with raises(InputError, combine.__name__):
            combine()

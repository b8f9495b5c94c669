"""Hypothesis strategies: random batches and random models, for properties of your own.

    >>> from hypothesis import given
    >>> from combinet import noop
    >>> @given(models("floats2d"), batches("floats2d"))
    ... def noop_changes_nothing(f, X):
    ...     f.initialize(X, dtype="float64")
    ...     assert ((f >> noop()).predict(X) == f.predict(X)).all()
    >>> noop_changes_nothing()

Needs the extra `testing`.
"""

from typing import Any

import numpy as np

from combinet.batches.padded import ragged_to_padded
from combinet.batches.ragged import Ragged
from combinet.combinators.compose import add, chain, clone, concatenate, noop, residual
from combinet.combinators.with_batches import with_array, with_flatten
from combinet.core.model import Model
from combinet.errors import InputError
from combinet.extras import extra
from combinet.layers.attention.parametric_attention import ParametricAttention
from combinet.layers.dense.gelu import gelu
from combinet.layers.dense.linear import Linear
from combinet.layers.dense.maxout import Maxout
from combinet.layers.embed.embed import Embed
from combinet.layers.norm.layer_norm import LayerNorm
from combinet.layers.sequence.conversions import list2ragged, ragged2list
from combinet.layers.sequence.expand_window import expand_window
from combinet.types import Floats2d

with extra("testing", "hypothesis"):
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy

KINDS = ("floats2d", "ids", "list", "ragged", "padded")
_IDS = 7  # ids are below this number


def batches(
    kind: str = "floats2d", *, width: int = 3, levels: int = 1, empty: bool = True
) -> SearchStrategy[Any]:
    """Returns a strategy for batches of an input kind, with numbers that one drawn seed determines.

    Batches shrink to fewer and shorter sequences.

    Args:
        kind: "floats2d", "ids", "list", "ragged" or "padded". Ids are integers from 0 to 6.
        width: Number of columns of floats.
        levels: Levels of sequences of "list" and "ragged": 2 for documents of sentences.
        empty: Whether arrays may have no rows, sequences no items, and ids no numbers.

    Raises:
        InputError: If `kind` is another kind.

    Example:
        >>> batches("list", levels=2).example() # doctest: +SKIP
        [[array([[ 0.12573022, -0.13210486,  0.64042265]])], []]
    """
    least = 0 if empty else 1
    seeds, n = st.integers(0, 2**16), st.integers(least, 5)
    if kind == "floats2d":
        return st.builds(lambda seed, rows: _floats(seed, rows, width), seeds, n)
    if kind == "ids":
        return st.builds(lambda seed, rows: _rng(seed).integers(0, _IDS, rows), seeds, n)
    if kind not in KINDS:
        raise InputError(f"batches expected a kind in {KINDS}, got {kind!r}")
    nested: SearchStrategy[Any] = st.lists(n, min_size=1, max_size=4)
    for _ in range(levels - 1):
        nested = st.lists(nested, min_size=1, max_size=3)
    lists = st.builds(lambda seed, ns: _filled(_rng(seed), ns, width), seeds, nested)
    if kind == "list":
        return lists
    ragged = lists.map(_ragged)
    return ragged.map(ragged_to_padded) if kind == "padded" else ragged


def models(accepts: str = "floats2d", *, width: int = 3) -> SearchStrategy[Model[Any, Any]]:
    """Returns a strategy for random compositions of layers. They are not initialized.

    The input is a batch of the kind `accepts`. The output is a batch of the same kind with `width`
    columns, or for "ids" an array with as many rows. Models compute each row or, if they contain
    windows or attention, each sequence independently. They shrink to a single `noop` or `Embed`.

    Args:
        accepts: "floats2d", "ids", "list", "ragged" or "padded".
        width: Number of columns of floats, in the input and in the output.

    Raises:
        InputError: If `accepts` is another kind.

    Example:
        >>> models("list").example() # doctest: +SKIP
        with_flatten: no parameters, not initialized
          residual
            linear  nI=? nO=3
    """
    if accepts not in KINDS:
        raise InputError(f"models expected a kind in {KINDS}, got {accepts!r}")
    makers: list[Any] = [
        noop, gelu, LayerNorm, lambda: Linear(width), lambda: Maxout(width, pieces=2),
        lambda: expand_window(1) >> Linear(width),
    ]  # fmt: skip
    rows = _compositions(st.sampled_from(makers).map(lambda make: make()), width)
    if accepts == "floats2d":
        return rows
    if accepts == "ids":
        return rows.map(lambda layer: Embed(width, _IDS) >> layer)
    wrapped: SearchStrategy[Any] = rows.map(with_flatten if accepts == "list" else with_array)
    if accepts == "padded":
        return wrapped
    attend: SearchStrategy[Any] = st.builds(ParametricAttention)
    if accepts == "list":
        attend = attend.map(lambda layer: list2ragged() >> layer >> ragged2list())
    parts: SearchStrategy[list[Any]] = st.lists(wrapped | attend, min_size=1, max_size=2)
    return parts.map(lambda layers: layers[0] if len(layers) == 1 else chain(*layers))


def _compositions(leaves: SearchStrategy[Any], width: int) -> SearchStrategy[Any]:
    """Returns a strategy for compositions of layers that keep the width."""

    def extend(inner: SearchStrategy[Any]) -> SearchStrategy[Any]:
        return st.one_of(
            st.builds(chain, inner, inner),
            st.builds(add, inner, inner),
            st.builds(residual, inner),
            st.builds(lambda f: chain(f, f), inner),  # one layer in two places
            st.builds(clone, inner, st.integers(0, 2)),
            st.builds(lambda f, g: concatenate(f, g) >> Linear(width), inner, inner),
        )

    return st.recursive(leaves, extend, max_leaves=4)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _floats(seed: int, rows: int, width: int) -> Floats2d:
    return _rng(seed).normal(size=(rows, width))


def _filled(rng: np.random.Generator, ns: Any, width: int) -> Any:
    """Returns nested lists of numbers of rows as nested lists of arrays."""
    if isinstance(ns, list):
        return [_filled(rng, n, width) for n in ns]
    return rng.normal(size=(ns, width))


def _ragged(X: Any) -> Ragged:
    """Returns lists of any depth as Ragged of the same depth."""
    ragged: Any = list2ragged().predict(X)
    return ragged  # type: ignore[no-any-return]

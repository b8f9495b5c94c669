"""Words as hashed features, and a layer for the n-grams of their letters."""

from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet import Model, Param, Run, uniform
from combinet.text import hash_text
from combinet.types import Floats2d, Ints

Keys: TypeAlias = Ints  # hashed features, uint64 (words, columns)

GRAMS = 40  # columns for the n-grams of letters in a word


class Column(NamedTuple):
    """A feature of each word, and the width and the number of rows of its table."""

    feature: Any
    width: int
    rows: int


def letters(nO: int, nV: int) -> Model[Ints, Floats2d]:
    """A custom layer: the mean of the vectors of a word's n-grams, the last GRAMS columns of X."""
    params = {"E": Param(("nV", "nO"), uniform(-0.05, 0.05), "C")}
    return Model("letters", _letters, dims={"nO": nO, "nV": nV}, params=params, accepts="ids")


def _letters(model: Model[Ints, Floats2d], X: Any, run: Run) -> Any:
    (E,) = run.params(model, "E")
    rows = (X[:, -GRAMS:] % np.uint64(model.get_dim("nV"))).astype("int64")

    def backprop(dY: Any) -> None:
        run.inc_grad_rows(model, "E", rows, dY / GRAMS)

    return run.ops.gather_sum(E, rows) / GRAMS, backprop


@cache
def spell(word: str) -> Keys:
    """GRAMS hashed n-grams of a word, n from 2 to 5. A short word repeats some of them."""
    text = f"^{word.lower()}$"
    grams = [text[i : i + n] for n in range(2, 6) for i in range(len(text) - n + 1)]
    chosen = [grams[i * len(grams) // GRAMS] for i in range(GRAMS)]
    return np.array(list(map(hash_text, chosen)), dtype="uint64")

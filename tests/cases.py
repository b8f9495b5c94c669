"""One row for every public layer and combinator: its name, a model, a sample input.

The laws run over all rows; a public constructor without a row fails test_laws.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import combinet as cb
from combinet.data import ragged_to_padded


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def listed(*lengths: int, width: int = 3) -> Any:
    return [floats(n, width, seed=i) for i, n in enumerate(lengths)]


def ragged(*lengths: int, width: int = 3) -> cb.Ragged:
    return cb.Ragged(floats(sum(lengths), width), lengths)


def padded(*lengths: int, width: int = 3) -> cb.Padded:
    return ragged_to_padded(ragged(*lengths, width=width))


def ids(n: int, below: int = 7) -> Any:
    return np.random.default_rng(n).integers(0, below, n)


def keys(n: int, columns: int = 3) -> Any:
    return np.random.default_rng(n).integers(0, 2**63, (n, columns)).astype("uint64")


@dataclass
class Case:
    name: str
    make: Callable[[], Any]
    X: Any
    note: str = ""
    drop: float = 0.0

    @property
    def id(self) -> str:
        return f"{self.name}-{self.note}" if self.note else self.name


def _inner() -> Any:
    return cb.expand_window(1) >> cb.Linear(3)


SHARED = cb.Linear(3, 3)

CASES = [
    Case("Linear", lambda: cb.Linear(4, 3), floats(5, 3)),
    Case("Linear", lambda: cb.Linear(4, 3), floats(0, 3), "no-rows"),
    Case("Linear", lambda: cb.Linear(4), floats(1, 3), "one-row"),
    Case("Relu", lambda: cb.Relu(4, 3), floats(5, 3)),
    Case("Gelu", lambda: cb.Gelu(4, 3), floats(5, 3)),
    Case("relu", lambda: cb.relu(), floats(5, 3)),
    Case("relu", lambda: cb.relu(), floats(2, 5, 3), "3d"),
    Case("gelu", lambda: cb.gelu(), floats(5, 3) * 4),
    Case("Maxout", lambda: cb.Maxout(4, 3, pieces=3), floats(5, 3)),
    Case("Maxout", lambda: cb.Maxout(4, 3, pieces=1), floats(5, 3), "one-piece"),
    Case("Softmax", lambda: cb.Softmax(4, 3), floats(5, 3)),
    Case("LayerNorm", lambda: cb.LayerNorm(6), floats(5, 6)),
    Case("Dropout", lambda: cb.Dropout(), floats(5, 3), drop=0.5),
    Case("Embed", lambda: cb.Embed(4, 7), ids(9)),
    Case("Embed", lambda: cb.Embed(4, 7, column=1), ids(8).reshape(4, 2), "column"),
    Case("HashEmbed", lambda: cb.HashEmbed(4, 11), keys(9)[:, 0]),
    Case("HashEmbed", lambda: cb.HashEmbed(4, 11, column=2, seed=5), keys(9), "column"),
    Case("expand_window", lambda: cb.expand_window(2), floats(6, 2)),
    Case("expand_window", lambda: cb.expand_window(3), floats(2, 2), "wider-than-the-input"),
    Case("ParametricAttention", lambda: cb.ParametricAttention(3), ragged(2, 0, 3, 1)),
    Case("reduce_sum", cb.reduce_sum, ragged(2, 0, 3, 1)),
    Case("reduce_mean", cb.reduce_mean, ragged(2, 0, 3, 1, 0)),
    Case("reduce_max", cb.reduce_max, ragged(2, 3, 1)),
    Case("reduce_first", cb.reduce_first, ragged(2, 3, 1)),
    Case("reduce_last", cb.reduce_last, ragged(2, 3, 1)),
    Case("chain", lambda: cb.chain(cb.Linear(4), cb.gelu(), cb.Linear(2)), floats(5, 3)),
    Case("chain", lambda: cb.chain(SHARED, cb.gelu(), SHARED), floats(5, 3), "shared-layer"),
    Case("concatenate", lambda: cb.concatenate(cb.Linear(2), cb.gelu()), floats(5, 3)),
    Case("concatenate", lambda: cb.HashEmbed(2, 9, column=0) | cb.HashEmbed(3, 5, column=1),
         keys(6), "ids"),
    Case("concatenate", lambda: cb.with_array(cb.Linear(2)) | cb.noop(), ragged(2, 1), "ragged"),
    Case("concatenate", lambda: cb.with_array(cb.Linear(2)) | cb.noop(), listed(2, 1), "lists"),
    Case("concatenate", lambda: cb.with_array(cb.Linear(2)) | cb.noop(), padded(1, 2), "padded"),
    Case("add", lambda: cb.add(cb.Linear(3), cb.noop(), cb.relu()), floats(5, 3)),
    Case("add", lambda: cb.add(cb.noop(), cb.with_flatten(cb.Linear(3))), listed(2, 1), "lists"),
    Case("residual", lambda: cb.residual(cb.Linear(3)), floats(5, 3)),
    Case("residual", lambda: cb.residual(cb.noop()), floats(5, 3), "child-keeps-its-output"),
    Case("residual", lambda: cb.residual(cb.with_array(cb.Linear(3))), ragged(2, 1), "ragged"),
    Case("clone", lambda: cb.clone(cb.Gelu(3), 3), floats(5, 3)),
    Case("noop", cb.noop, floats(5, 3)),
    Case("with_flatten", lambda: cb.with_flatten(_inner()), listed(3, 1, 0, 2)),
    Case("with_flatten", lambda: cb.with_flatten(cb.Embed(2, 7)), [ids(3), ids(2)], "ids"),
    Case("with_array", lambda: cb.with_array(_inner()), listed(3, 1, 2), "list"),
    Case("with_array", lambda: cb.with_array(_inner()), ragged(3, 1, 0, 2), "ragged"),
    Case("with_array", lambda: cb.with_array(_inner()), padded(3, 1, 2), "padded"),
    Case("with_array", lambda: cb.with_array(_inner()), floats(5, 3), "array"),
    Case("with_list", lambda: cb.with_list(cb.with_flatten(_inner())), ragged(3, 1, 2), "ragged"),
    Case("with_list", lambda: cb.with_list(cb.with_flatten(_inner())), floats(5, 3), "array"),
    Case("with_ragged", lambda: cb.with_ragged(cb.ParametricAttention()), listed(3, 1), "list"),
    Case("with_ragged", lambda: cb.with_ragged(cb.ParametricAttention()), padded(1, 3), "padded"),
    Case("with_padded", lambda: cb.with_padded(cb.with_array(_inner())), listed(1, 3, 2), "list"),
    Case("with_padded", lambda: cb.with_padded(cb.with_array(_inner())), ragged(2, 3), "ragged"),
    Case("list2ragged", cb.list2ragged, listed(3, 0, 2)),
    Case("ragged2list", cb.ragged2list, ragged(3, 0, 2)),
    Case("list2padded", cb.list2padded, listed(1, 3, 2)),
    Case("padded2list", cb.padded2list, padded(1, 3, 2)),
    Case("list2array", cb.list2array, listed(1, 3, 2)),
    Case("list2array", cb.list2array, [ids(3).astype(float), ids(2).astype(float)], "1d"),
]  # fmt: skip

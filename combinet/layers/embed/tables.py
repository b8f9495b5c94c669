"""Tables that are given, not trained: vectors of ids, and ids of words or of other ids.

A table is part of the code that composes the model, as its functions are: it is not saved, and
copies of a layer share it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_rules import fixed
from combinet.errors import InputError, describe
from combinet.layers.embed.embed import column_of, ids_of
from combinet.ops.base import Ops
from combinet.text import features
from combinet.types import Floats2d, Ints, Ints1d, Ints2d


def StaticVectors(vectors: Floats2d, *, column: int | None = None) -> Model[Ints, Floats2d]:
    """The vector of each id in a table that training leaves as it is: Y = vectors[X].

    X (n,) integers below the rows of the table, or (n, columns) of which `column` is taken
    -> Y (n, nO), in the table's dtype. `StaticVectors(table) >> Linear(nO)` brings vectors to
    another width. There are no weights; the table is not saved. Raises DimensionError for ids
    outside it (on a GPU, where looking would mean waiting, they wrap around).

    Example:
        >>> import numpy as np
        >>> StaticVectors(np.array([[0.0, 1.0], [2.0, 3.0]])).predict(np.array([1, 0, 1]))
        array([[2., 3.],
               [0., 1.],
               [2., 3.]])
    """
    if not hasattr(vectors, "dtype") or vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"StaticVectors takes floats (rows, nO), not {describe(vectors)}")
    dims = {"nO": vectors.shape[1], "nV": vectors.shape[0]}
    attrs = {"vectors": DeviceTable(vectors), "column": column}
    return Model(
        "static_vectors", _static_vectors, dims=dims, attrs=attrs, accepts="ids", widths=fixed
    )


class DeviceTable:
    """An array, with its copies on the devices where it has been asked for."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self._on: dict[tuple[str, int], Any] = {}

    def on(self, ops: Ops) -> Any:
        """The array on the device of `ops`."""
        key = (ops.name, ops.device)
        if key not in self._on:
            self._on[key] = ops.asarray(self.array)
        return self._on[key]


def _static_vectors(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    return model.attrs["vectors"].on(run.ops)[ids_of(model, X, run)], lambda dY: None


def remap_ids(
    mapping_table: Mapping[Any, int], default: int = 0
) -> Model[Sequence[Hashable], Ints1d]:
    """The number of each word in a mapping; `default` for words that are not in it.

    X list or tuple of n hashables -> Y (n,) integers, as `Embed` takes them. There is no gradient.
    The mapping is copied here; it is not saved. Raises InputError for anything else; arrays of
    ids are for `premap_ids`.

    Example:
        >>> remap_ids({"cat": 1, "dog": 2}).predict(["dog", "cow", "cat"])
        array([2, 0, 1])
    """
    attrs = {"mapping_table": dict(mapping_table), "default": default}
    return Model("remap_ids", _remap_ids, attrs=attrs)


def _remap_ids(model: Model[Any, Any], X: Sequence[Hashable], run: Run) -> Any:
    if not isinstance(X, list | tuple):
        raise InputError(
            f"remap_ids takes a list of words (premap_ids: an array of ids), not {describe(X)}"
        )
    table, default = model.attrs["mapping_table"], model.attrs["default"]
    numbers = np.array([table.get(word, default) for word in X], "int64")
    return run.ops.asarray(numbers), lambda dY: None


def premap_ids(
    mapping_table: Mapping[int, int], default: int = 0, *, column: int | None = None
) -> Model[Ints, Ints1d]:
    """The number of each id in a mapping; `default` for ids that are not in it.

    X (n,) integers, or (n, columns) of which `column` is taken -> Y (n,) integers, as `Embed`
    takes them. Ids are taken as 64 bits, with a sign or without, and stay on their device. There
    is no gradient. The mapping is not saved. Raises InputError for a mapping of anything but ints.

    Example:
        >>> import numpy as np
        >>> premap_ids({70: 1, 90: 2}, default=9).predict(np.array([90, 80, 70]))
        array([2, 9, 1])
    """
    for each in (number for pair in mapping_table.items() for number in pair):
        if not isinstance(each, int | np.integer):
            raise InputError(f"premap_ids takes a mapping of ints to ints, not of {describe(each)}")
    pairs = sorted((int(key) % 2**64, int(number)) for key, number in mapping_table.items())
    attrs = {
        "keys": DeviceTable(np.array([key for key, _ in pairs], "uint64")),
        "numbers": DeviceTable(np.array([number for _, number in pairs], "int64")),
        "default": default,
        "column": column,
    }
    return Model("premap_ids", _premap_ids, attrs=attrs, accepts="ids")


def _premap_ids(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    ops, attrs = run.ops, model.attrs
    ids: Any = column_of(model, X).astype("uint64")
    keys, numbers = attrs["keys"].on(ops), attrs["numbers"].on(ops)
    return ops.look_up(keys, numbers, ids, attrs["default"]), lambda dY: None


def strings2arrays() -> Model[Sequence[Sequence[str]], list[Ints2d]]:
    """The words of each document as 64-bit hashes, as `HashEmbed` takes them.

    X list of lists of n_i words -> Y list of (n_i, 1) uint64. The hash is that of
    `combinet.text.hash_text`, which gives more features of words as well. There is no gradient.
    Raises InputError for a document that is a str.

    Example:
        >>> docs = strings2arrays().predict([["a", "cat"], ["a"]])
        >>> [keys.shape for keys in docs], bool(docs[0][0] == docs[1][0])
        ([(2, 1), (1, 1)], True)
    """
    return Model("strings2arrays", _strings2arrays)


def _strings2arrays(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return [run.ops.asarray(keys) for keys in features(X, [str])], lambda dY: None

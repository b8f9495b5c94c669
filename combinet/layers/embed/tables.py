"""Tables that are not trained: from ids to vectors, and from words or ids to numbers.

A table is part of the code that composes the model, as a function would be. It is not saved, and
copies of a layer share it.
"""

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
    """Looks up a vector for each id in a fixed table: Y = vectors[X].

    The input is an array of integers (n,). With `column`, it is an array (n, columns). The output
    is an array (n, nO) in the dtype of the table. The layer has no weights, and the table is not
    saved. Ids have no gradient, so backprop returns None. `StaticVectors(table) >> Linear(nO)` maps
    the vectors to another width.

    Args:
        vectors: Table of floats (rows, nO).
        column: Index of the column with the ids if the input is (n, columns). None if it is (n,).

    Raises:
        InputError: If `vectors` is not an array of floats with two axes, or if X is not an array of
            integers of this shape.
        DimensionError: If an id is not a row of the table. On a GPU, such ids wrap around, because
            the check would force a device sync.

    Example:
        >>> import numpy as np
        >>> StaticVectors(np.array([[0.0, 1.0], [2.0, 3.0]])).predict(np.array([1, 0, 1]))
        array([[2., 3.],
               [0., 1.],
               [2., 3.]])
    """
    if not hasattr(vectors, "dtype") or vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"StaticVectors expected floats (rows, nO), got {describe(vectors)}")
    dims = {"nO": vectors.shape[1], "nV": vectors.shape[0]}
    attrs = {"vectors": DeviceTable(vectors), "column": column}
    return Model(
        "static_vectors", _static_vectors, dims=dims, attrs=attrs, accepts="ids", widths=fixed
    )


class DeviceTable:
    """An array with cached copies on other devices."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self._on: dict[tuple[str, int], Any] = {}

    def on(self, ops: Ops) -> Any:
        """Returns the array on the device of `ops`."""
        key = (ops.name, ops.device)
        if key not in self._on:
            self._on[key] = ops.asarray(self.array)
        return self._on[key]


def _static_vectors(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    return model.attrs["vectors"].on(run.ops)[ids_of(model, X, run)], lambda dY: None


def remap_ids(
    mapping_table: Mapping[Any, int], default: int = 0
) -> Model[Sequence[Hashable], Ints1d]:
    """Looks up the number of each word in a mapping.

    The input is a list or tuple of n hashable values. The output is an array of int64 (n,), which
    `Embed` accepts. Words have no gradient, so backprop returns None. The mapping is not saved. Use
    `premap_ids` for arrays of ids.

    Args:
        mapping_table: Mapping from words to numbers. The layer keeps a copy.
        default: Number to return for a word that is not in the mapping.

    Raises:
        InputError: If X is not a list or tuple of hashable values.

    Example:
        >>> remap_ids({"cat": 1, "dog": 2}).predict(["dog", "cow", "cat"])
        array([2, 0, 1])
    """
    attrs = {"mapping_table": dict(mapping_table), "default": default}
    return Model("remap_ids", _remap_ids, attrs=attrs)


def _remap_ids(model: Model[Any, Any], X: Sequence[Hashable], run: Run) -> Any:
    table, default = model.attrs["mapping_table"], model.attrs["default"]
    try:
        if not isinstance(X, list | tuple):
            raise TypeError
        numbers = np.array([table.get(word, default) for word in X], "int64")
    except TypeError:  # a list, for example, cannot be a key of the mapping
        raise InputError(
            f"remap_ids expected a list of words, got {describe(X)}; use premap_ids for arrays"
        ) from None
    return run.ops.asarray(numbers), lambda dY: None


def premap_ids(
    mapping_table: Mapping[int, int], default: int = 0, *, column: int | None = None
) -> Model[Ints, Ints1d]:
    """Looks up the number of each id in a mapping of ints.

    The input is an array of integers (n,). With `column`, it is an array (n, columns). The output
    is an array of int64 (n,), which `Embed` accepts. Ids are read as 64 bits, signed or unsigned,
    and stay on their device. Ids have no gradient, so backprop returns None. The mapping is not
    saved.

    Args:
        mapping_table: Mapping from ids to numbers. The layer keeps a copy.
        default: Number to return for an id that is not in the mapping.
        column: Index of the column with the ids if the input is (n, columns). None if it is (n,).

    Raises:
        InputError: If the mapping contains anything but ints, or if X is not an array of integers
            of this shape.

    Example:
        >>> import numpy as np
        >>> premap_ids({70: 1, 90: 2}, default=9).predict(np.array([90, 80, 70]))
        array([2, 9, 1])
    """
    for each in (number for pair in mapping_table.items() for number in pair):
        if not isinstance(each, int | np.integer):
            raise InputError(f"premap_ids expected ints in its mapping, got {describe(each)}")
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
    """Hashes the words of each document to 64-bit integers, which `HashEmbed` accepts.

    The input is a list of documents, each a list of n_i words. The output is a list of arrays of
    uint64 (n_i, 1). The hash function is `combinet.text.hash_text`; `combinet.text.features`
    computes more features of words. Words have no gradient, so backprop returns None.

    Raises:
        InputError: If a document is a str, or if a word is not a str.

    Example:
        >>> docs = strings2arrays().predict([["a", "cat"], ["a"]])
        >>> [keys.shape for keys in docs], bool(docs[0][0] == docs[1][0])
        ([(2, 1), (1, 1)], True)
    """
    return Model("strings2arrays", _strings2arrays)


def _strings2arrays(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return [run.ops.asarray(keys) for keys in features(X, [str])], lambda dY: None

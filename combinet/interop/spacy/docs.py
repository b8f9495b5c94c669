"""Layers that read spaCy's documents: hashes of word attributes, and vectors of the vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.attrs import intify_attr  # type: ignore[import-not-found]
from spacy.vectors import Mode  # type: ignore[import-not-found]
from thinc import api as thinc

from combinet import InputError, Model, Ragged, Run, to_device, uniform
from combinet.batches.convert import list_to_ragged
from combinet.layers.embed.embed import column_of, gather_rows, table_layer
from combinet.ops.backends import default_ops


def doc_features(columns: Sequence[str]) -> Model[Any, Ragged]:
    """Hashes attributes of words: a list of Doc or Span to Ragged (total, columns) of uint64.

    The input has no gradient.

    Args:
        columns: The names of the attributes, such as "NORM".
    """
    return Model("doc_features", _doc_features, attrs={"columns": list(columns)})


def _doc_features(model: Model[Any, Any], X: Sequence[Any], run: Run) -> Any:
    return to_device(_attributes(X, model.attrs["columns"]), run.ops), lambda dY: None


def _attributes(docs: Sequence[Any], columns: Sequence[Any]) -> Ragged:
    """Returns the attributes of each word, (total, columns), by name or number."""
    numbers = [intify_attr(column) for column in columns]  # Span.to_array requires numbers
    return list_to_ragged([doc.to_array(numbers).reshape(len(doc), len(columns)) for doc in docs])


def doc_vectors() -> Model[Any, Ragged]:
    """Looks up vectors of words: a list of Doc or Span to Ragged (total, width) of float32.

    The vectors come from the vocabulary. A word without a vector gets zeros. The input has no
    gradient.

    Raises:
        InputError: If the vocabulary has no vectors.
    """
    return Model("doc_vectors", _doc_vectors)


def _doc_vectors(model: Model[Any, Any], X: Sequence[Any], run: Run) -> Any:
    vectors = X[0].vocab.vectors
    if not vectors.shape[1]:
        raise InputError("expected vectors in the vocabulary; set initialize.vectors in the config")
    words = _attributes(X, [vectors.attr])
    keys = words.data[:, 0]
    if vectors.mode == Mode.floret:
        found = default_ops().asarray(vectors.get_batch(keys))
    else:
        rows = vectors.find(keys=keys)
        found = default_ops().asarray(vectors.data)[rows] * (rows >= 0)[:, None]
    return Ragged.unchecked(run.ops.asarray(found, "float32"), words.lengths), lambda dY: None


def HashTable(nO: int, nV: int, *, seed: int, column: int) -> Model[Any, Any]:
    """`HashEmbed` with Thinc's hash function, for tables that Thinc has trained.

    The input is an array of integers (n, columns), the output an array (n, nO). The rows are the
    same as in Thinc's HashEmbed with this seed: MurmurHash3 modulo nV.

    Args:
        nO: Number of output columns.
        nV: Number of rows of the table.
        seed: Seed of the hash function.
        column: The column of the input to look up.
    """
    settings = {"column": column, "seed": seed}
    return table_layer("hash_table", _hash_table, "ids", nO, nV, uniform(-0.1, 0.1), **settings)


def _hash_table(model: Model[Any, Any], X: Any, run: Run) -> Any:
    ops: Any = thinc.NumpyOps() if run.ops.name == "numpy" else thinc.CupyOps()
    keys = ops.as_contig(column_of(model, X), dtype="uint64")
    rows = ops.hash(keys, model.attrs["seed"]) % np.uint32(model.get_dim("nV"))
    return gather_rows(model, rows.astype("int64"), run)

"""Layers that read spaCy's documents: hashes of words' features, and vectors of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.attrs import intify_attr  # type: ignore[import-not-found]
from spacy.vectors import Mode  # type: ignore[import-not-found]
from thinc import api as thinc

from combinet import InputError, Model, Param, Ragged, Run, to_device, uniform
from combinet.batches.convert import list_to_ragged
from combinet.layers.embed.embed import column_of, gather_rows
from combinet.ops.backends import default_ops


def doc_features(columns: Sequence[str]) -> Model[Any, Ragged]:
    """The hashes of words' features, by spaCy's names of attributes: documents -> (total, columns).

    X list of Doc or Span -> Y Ragged of uint64. There is no gradient.
    """
    return Model("doc_features", _doc_features, attrs={"columns": list(columns)})


def _doc_features(model: Model[Any, Any], X: Sequence[Any], run: Run) -> Any:
    return to_device(_attributes(X, model.attrs["columns"]), run.ops), lambda dY: None


def _attributes(docs: Sequence[Any], columns: Sequence[Any]) -> Ragged:
    """The attributes of each word, (total, columns), by names or numbers."""
    numbers = [intify_attr(column) for column in columns]  # Span takes numbers alone
    return list_to_ragged([doc.to_array(numbers).reshape(len(doc), len(columns)) for doc in docs])


def doc_vectors() -> Model[Any, Ragged]:
    """The vectors that the vocabulary of the documents has for their words; 0 where it has none.

    X list of Doc or Span -> Y Ragged of (total, width of the vectors) in float32. There is no
    gradient. Raises InputError for a vocabulary without vectors.
    """
    return Model("doc_vectors", _doc_vectors)


def _doc_vectors(model: Model[Any, Any], X: Sequence[Any], run: Run) -> Any:
    vectors = X[0].vocab.vectors
    if not vectors.shape[1]:
        raise InputError("the vocabulary has no vectors: name some under `initialize.vectors`")
    words = _attributes(X, [vectors.attr])
    keys = words.data[:, 0]
    if vectors.mode == Mode.floret:
        found = default_ops().asarray(vectors.get_batch(keys))
    else:
        rows = vectors.find(keys=keys)
        found = default_ops().asarray(vectors.data)[rows] * (rows >= 0)[:, None]
    return Ragged.unchecked(run.ops.asarray(found, "float32"), words.lengths), lambda dY: None


def HashTable(nO: int, nV: int, *, seed: int, column: int) -> Model[Any, Any]:
    """`HashEmbed` with Thinc's hash, so that tables that Thinc has trained fit.

    X (n, columns) integers, of which `column` is taken -> Y (n, nO). Params: E (nV, nO). The rows
    are those of Thinc's HashEmbed with this seed, MurmurHash3 modulo nV.
    """
    dims, attrs = {"nO": nO, "nV": nV}, {"column": column, "seed": seed}
    params = {"E": Param(("nV", "nO"), uniform(-0.1, 0.1), "C")}
    return Model("hash_table", _hash_table, dims=dims, params=params, attrs=attrs, accepts="ids")


def _hash_table(model: Model[Any, Any], X: Any, run: Run) -> Any:
    ops: Any = thinc.NumpyOps() if run.ops.name == "numpy" else thinc.CupyOps()
    keys = ops.as_contig(column_of(model, X), dtype="uint64")
    rows = ops.hash(keys, model.attrs["seed"]) % np.uint32(model.get_dim("nV"))
    return gather_rows(model, rows.astype("int64"), run)

"""Tables of vectors, and hashing of keys to rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import combinet as cb
from combinet.errors import InputError
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor
from combinet.layers.dense.sparse_linear import N_CELLS
from combinet.ops.embed import N_HASHES, seed_offsets


def _ids(model: Any, X: Tensor, dtype: str = "int64") -> Tensor:
    """Returns the ids in the layer's column, or all ids if it has none."""
    column = model.attrs["column"]
    return (X if column is None else X.take(column, axis=1)).cast(dtype)


@converts(cb.Embed())
def _embed(model: Any, X: Tensor, to: Export, E: Tensor) -> Tensor:
    return E.take(_ids(model, X))


@converts(cb.EmbedBag())
def _embed_bag(model: Any, X: Sequences, to: Export, E: Tensor) -> Tensor:
    vectors, layout = E.take(_ids(model, X.rows)), to.layout(X.lengths)
    return layout.mean(vectors) if model.attrs["reduce"] == "mean" else layout.sum(vectors)


@converts(cb.StaticVectors(np.zeros((1, 1))))
def _static_vectors(model: Any, X: Tensor, to: Export) -> Tensor:
    return to.table(model, "vectors", model.attrs["vectors"].array).take(_ids(model, X))


@converts(cb.unembed(cb.Embed()))
def _unembed(model: Any, X: Tensor, to: Export) -> Tensor:
    return to.op("Gemm", X, *to.params(model.layers[0]), transB=1)


def _hashed(E: Tensor, keys: Tensor, seed: int, nV: int, k: int) -> Tensor:
    """Returns the sum of k rows of a table for each key. Rows as in `EmbedOps.hash_rows`."""
    rows = []
    for offset in seed_offsets(seed, k):
        mixed = _mix(keys + offset)
        low = E.graph.op("BitwiseAnd", mixed, np.uint64(2**32 - 1))
        for bits in (low, mixed >> np.uint64(32)):
            rows.append(E.take((bits * np.uint64(nV) >> np.uint64(32)).cast("int64")))
    return E.graph.op("Sum", *rows)


def _mix(keys: Tensor) -> Tensor:
    """Applies the finalizer of splitmix64."""
    mixed: Tensor = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)  # type: ignore[no-any-return]


@converts(cb.HashEmbed())
def _hash_embed(model: Any, X: Tensor, to: Export, E: Tensor) -> Tensor:
    seed, nV = model.attrs["seed"], model.get_dim("nV")
    return _hashed(E, _ids(model, X, "uint64"), seed, nV, N_HASHES)


@converts(cb.SparseLinear())
def _sparse_linear(model: Any, X: tuple[Tensor, ...], to: Export, W: Tensor, b: Tensor) -> Tensor:
    keys, values, lengths = X
    weights = _hashed(W, keys.cast("uint64"), 0, model.get_dim("length"), N_CELLS)
    return to.layout(lengths.cast("int64")).sum(weights * values.unsqueeze(1)) + b


def _look_up(to: Export, X: Tensor, dtype: str, table: Mapping[Any, int], default: int) -> Tensor:
    """Returns the value of each key in a table. The operator requires at least one key."""
    table = table or {{"strings": "", "int64s": 0}[dtype]: default}
    columns: dict[str, Any] = {f"keys_{dtype}": [*table], "values_int64s": [*table.values()]}
    return to.op("LabelEncoder", X, domain="ai.onnx.ml", default_int64=default, **columns)


@converts(cb.premap_ids({}))
def _premap_ids(model: Any, X: Tensor, to: Export) -> Tensor:
    keys, numbers = (model.attrs[name].array.astype("int64") for name in ("keys", "numbers"))
    table = dict(zip(keys.tolist(), numbers.tolist(), strict=True))
    return _look_up(to, _ids(model, X), "int64s", table, model.attrs["default"])


@converts(cb.remap_ids({}))
def _remap_ids(model: Any, X: Tensor, to: Export) -> Tensor:
    table = model.attrs["mapping_table"]
    if not all(isinstance(word, str) for word in table):
        raise InputError(f"{model.name} expected a mapping of words only to export to ONNX")
    return _look_up(to, X, "strings", table, model.attrs["default"])

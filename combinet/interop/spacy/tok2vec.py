"""Vectors of words in context, for any component of a pipeline."""

from __future__ import annotations

from typing import Any

import combinet as cb
from combinet.interop.spacy.docs import HashTable, doc_features, doc_vectors
from combinet.interop.spacy.margins import with_margins
from combinet.interop.thinc import to_thinc

FIRST_SEED = 8  # of the tables, as spaCy counts them
_EPS = 1e-8  # of layer norms, as in Thinc


def Tok2Vec(
    width: int,
    depth: int,
    rows: list[int],
    window_size: int = 1,
    maxout_pieces: int = 3,
    attrs: list[str] = ["NORM", "PREFIX", "SUFFIX", "SHAPE"],  # noqa: B006
    include_static_vectors: bool = False,
    margins: bool = False,
) -> Any:
    """Words' features in hash tables, mixed by maxout, then `depth` windows of maxout on them.

    List of Doc -> list of arrays (words, width). For each of `attrs` there is a table of as many
    `rows`; `include_static_vectors` sets the vocabulary's vectors beside them. Each of the
    encoder's layers sees `window_size` words on either side, none beyond the document. With
    `margins` there are rows of zeros around each document, on which the encoder's layers work
    as well: what spaCy's own MaxoutWindowEncoder does. Then the weights of `spacy.HashEmbedCNN.v2`
    give the same vectors here; see `move`. Raises InputError unless each of attrs has its rows.
    """
    if len(rows) != len(attrs):
        raise cb.InputError(f"combinet.Tok2Vec.v1 takes rows for each of {attrs}, not {rows}")
    tables = [HashTable(width, nV, seed=FIRST_SEED + i, column=i) for i, nV in enumerate(rows)]
    embed = doc_features(attrs) >> cb.with_array(cb.concatenate(*tables))
    if include_static_vectors:
        embed = embed | (doc_vectors() >> cb.with_array(cb.Linear(width)))
    layer = cb.residual(cb.expand_window(window_size) >> _mix(width, maxout_pieces))
    encode = cb.clone(layer, depth)
    if margins:
        encode = with_margins(encode, window_size * depth)
    return to_thinc(embed >> cb.with_array(_mix(width, 3) >> encode) >> cb.ragged2list())


def _mix(width: int, pieces: int) -> cb.Model[Any, Any]:
    return cb.Maxout(width, pieces=pieces) >> cb.LayerNorm(eps=_EPS) >> cb.Dropout()

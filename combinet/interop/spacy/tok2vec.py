"""Vectors of words in context, for all components of a pipeline."""

from typing import Any

import combinet as cb
from combinet.interop.spacy.docs import HashTable, doc_features, doc_vectors
from combinet.interop.spacy.margins import with_margins
from combinet.interop.thinc import to_thinc

FIRST_SEED = 8  # the seed of the first table, as in spaCy
_EPS = 1e-8  # the eps of layer norms, as in Thinc


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
    """A model from documents to word vectors: hash tables of attributes, then an encoder.

    The input is a list of Doc, the output a list of arrays (words, width). A maxout layer mixes the
    rows of all tables. Each layer of the encoder is a residual maxout over a window of words.

    Args:
        width: Number of columns of the vectors.
        depth: Number of encoder layers.
        rows: Number of rows of each table, one for each of `attrs`.
        window_size: Number of words on either side that a layer of the encoder sees.
        maxout_pieces: Number of pieces of the encoder's maxouts.
        attrs: spaCy's names of the word attributes. Each has its own table.
        include_static_vectors: Whether to concatenate the vocabulary's vectors, projected to
            `width`, with the rows of the tables.
        margins: Whether the encoder also transforms rows of zeros around each document, as spaCy's
            MaxoutWindowEncoder does. With margins, the weights of `spacy.HashEmbedCNN.v2` give the
            same vectors here; see `move`. If False, a window sees zeros beyond the document.

    Raises:
        InputError: If `rows` and `attrs` have different lengths.

    Example:
        >>> import spacy
        >>> docs = [spacy.blank("en")("Any three words")]
        >>> model = Tok2Vec(8, 1, [50, 50], attrs=["NORM", "SHAPE"])
        >>> model.initialize(docs).predict(docs)[0].shape
        (3, 8)
    """
    if len(rows) != len(attrs):
        raise cb.InputError(f"combinet.Tok2Vec.v1 expected rows for each of {attrs}, got {rows}")
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

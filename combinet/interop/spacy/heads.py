"""What components predict from the vectors of words."""

from __future__ import annotations

from typing import Any

from spacy.util import registry
from thinc import api as thinc

import combinet as cb
from combinet.interop.spacy.spans import extract_spans
from combinet.interop.thinc import resize_output, to_thinc
from combinet.shapes import preserves
from combinet.types import Floats2d


def Tagger(tok2vec: Any, nO: int | None = None) -> Any:
    """Scores of each word's tags, for the tagger, the morphologizer and their like.

    List of Doc -> list of arrays (words, nO): in training probabilities, in prediction their
    logits, which have the same order and cost less.
    """
    scores = cb.Softmax(nO, normalize_outputs=False) >> probabilities(in_prediction=False)
    return _component(tok2vec, tok2vec, cb.with_array(scores))


def TextCat(tok2vec: Any, exclusive_classes: bool, nO: int | None = None) -> Any:
    """Probabilities of documents' categories, from the words weighed by attention.

    List of Doc -> array (documents, nO). With `exclusive_classes`, for `textcat`, they add up to
    1; without, for `textcat_multilabel`, each category is a question of its own.
    """
    document = cb.list2ragged() >> cb.ParametricAttention() >> cb.reduce_sum()
    model = _component(tok2vec, tok2vec, document >> _classes(nO, exclusive_classes))
    model.attrs["multi_label"] = not exclusive_classes
    return model


def SpanCategorizer(
    tok2vec: Any, hidden_size: int = 128, exclusive_classes: bool = False, nO: int | None = None
) -> Any:
    """Probabilities of spans' labels, from their first, last, mean and largest vectors.

    List of Doc with a Ragged of spans (total, 2), as suggested -> array (total, nO). With
    `exclusive_classes`, for `spancat_singlelabel`, they add up to 1; without, for `spancat`, each
    label is a question of its own.
    """
    pooled = cb.reduce_first() | cb.reduce_last() | cb.reduce_mean() | cb.reduce_max()
    hidden = pooled >> cb.Maxout(hidden_size) >> cb.LayerNorm() >> cb.Dropout()
    head = extract_spans() >> hidden >> _classes(nO, exclusive_classes)
    return _component(tok2vec, thinc.with_getitem(0, tok2vec), head)


def TransitionBasedParser(
    tok2vec: Any,
    state_type: str,
    extra_state_tokens: bool = False,
    hidden_width: int = 64,
    maxout_pieces: int = 2,
    use_upper: bool = True,
    nO: int | None = None,
) -> Any:
    """The parser of dependencies or of entities that spaCy has, on any vectors of words.

    The states and their scores are spaCy's own, which its parser computes outside of any layer:
    this is `spacy.TransitionBasedParser.v2` with defaults, and what is combinet's is `tok2vec`.
    """
    build = registry.architectures.get("spacy.TransitionBasedParser.v2")
    return build(
        tok2vec, state_type, extra_state_tokens, hidden_width, maxout_pieces, use_upper, nO
    )


def _component(tok2vec: Any, reader: Any, head: cb.Model[Any, Any]) -> Any:
    """Reader and head, with the names by which spaCy's components look for parts of a model."""
    output = to_thinc(head)
    model: Any = thinc.chain(reader, output)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", output)
    model.attrs["resize_output"] = _resize
    return model


def _resize(model: Any, nO: int) -> Any:
    resize_output(model.get_ref("output_layer"), nO)
    model.set_dim("nO", nO, force=True)
    return model


def _classes(nO: int | None, exclusive: bool) -> cb.Model[Any, Any]:
    if exclusive:
        return cb.Softmax(nO, normalize_outputs=False) >> probabilities()
    return cb.Linear(nO) >> cb.Logistic()


def probabilities(*, in_prediction: bool = True) -> cb.Model[Floats2d, Floats2d]:
    """Softmax whose backward pass takes the gradient of the logits, as spaCy's losses give it.

    X logits (n, nO) -> Y (n, nO) probabilities; in prediction X itself unless `in_prediction`.
    """
    attrs = {"in_prediction": in_prediction}
    return cb.Model("probabilities", _probabilities, attrs=attrs, widths=preserves)


def _probabilities(model: cb.Model[Any, Any], X: Floats2d, run: cb.Run) -> Any:
    wanted = run.train or model.attrs["in_prediction"]
    return run.ops.softmax(X) if wanted else X, lambda dY: dY

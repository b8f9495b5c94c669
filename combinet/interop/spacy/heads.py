"""The models of spaCy's components, each on top of a tok2vec."""

from typing import Any

from spacy.util import registry
from thinc import api as thinc

import combinet as cb
from combinet.interop.spacy.spans import extract_spans
from combinet.interop.thinc import resize_output, to_thinc
from combinet.shapes import preserves
from combinet.types import Floats2d


def Tagger(tok2vec: Any, nO: int | None = None) -> Any:
    """A model that scores the tags of each word, for components such as tagger and morphologizer.

    The input is a list of Doc, the output a list of arrays (words, nO). In training they are
    probabilities. In prediction they are logits, which have the same order and cost less.

    Args:
        tok2vec: A model from documents to arrays (words, width), such as `Tok2Vec`.
        nO: Number of tags. Set by the component if None.

    Example:
        >>> import spacy
        >>> from combinet.interop.spacy import Tok2Vec
        >>> docs = [spacy.blank("en")("Any three words")]
        >>> tok2vec = Tok2Vec(8, 1, [50, 50], attrs=["NORM", "SHAPE"])
        >>> Tagger(tok2vec, 5).initialize(docs).predict(docs)[0].shape
        (3, 5)
    """
    scores = cb.Softmax(nO, normalize_outputs=False) >> probabilities(in_prediction=False)
    return _component(tok2vec, tok2vec, cb.with_array(scores))


def TextCat(tok2vec: Any, exclusive_classes: bool, nO: int | None = None) -> Any:
    """A model for the categories of documents: attention weights the words of a document.

    The input is a list of Doc, the output an array of probabilities (documents, nO).

    Args:
        tok2vec: A model from documents to arrays (words, width), such as `Tok2Vec`.
        exclusive_classes: Whether the probabilities of a document sum to 1, as `textcat` requires.
            If False, each category has an independent probability, as `textcat_multilabel`
            requires.
        nO: Number of categories. Set by the component if None.

    Example:
        >>> import spacy
        >>> from combinet.interop.spacy import Tok2Vec
        >>> docs = [spacy.blank("en")("Any three words")]
        >>> tok2vec = Tok2Vec(8, 1, [50, 50], attrs=["NORM", "SHAPE"])
        >>> TextCat(tok2vec, True, 2).initialize(docs).predict(docs).shape
        (1, 2)
    """
    document = cb.list2ragged() >> cb.ParametricAttention() >> cb.reduce_sum()
    model = _component(tok2vec, tok2vec, document >> _classes(nO, exclusive_classes))
    model.attrs["multi_label"] = not exclusive_classes
    return model


def SpanCategorizer(
    tok2vec: Any, hidden_size: int = 128, exclusive_classes: bool = False, nO: int | None = None
) -> Any:
    """A model for the labels of spans, from the first, last, mean and largest vector of each span.

    The input is a list of Doc and a Ragged of spans (total, 2), as a suggester returns them. The
    output is an array of probabilities (total, nO).

    Args:
        tok2vec: A model from documents to arrays (words, width), such as `Tok2Vec`.
        hidden_size: Number of columns of the hidden layer.
        exclusive_classes: Whether the probabilities of a span sum to 1, as `spancat_singlelabel`
            requires. If False, each label has an independent probability, as `spancat` requires.
        nO: Number of labels. Set by the component if None.

    Example:
        >>> import spacy
        >>> from combinet.interop.spacy import Tok2Vec
        >>> docs = [spacy.blank("en")("Any three words")]
        >>> tok2vec = Tok2Vec(8, 1, [50, 50], attrs=["NORM", "SHAPE"])
        >>> import numpy as np
        >>> from thinc.types import Ragged
        >>> spans = Ragged(np.array([[0, 2], [1, 3]]), np.array([2], dtype="int32"))
        >>> model = SpanCategorizer(tok2vec, nO=4).initialize((docs, spans))
        >>> model.predict((docs, spans)).shape
        (2, 4)
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
    """A model for spaCy's dependency parser and entity recognizer, on any tok2vec.

    This is `spacy.TransitionBasedParser.v2` with default values. spaCy computes the states and
    their scores outside of layers, so only the `tok2vec` can be combinet's.

    Args:
        tok2vec: A model from documents to arrays (words, width), such as `Tok2Vec`.
        state_type: "parser" or "ner".
        extra_state_tokens: Whether the states include more tokens than by default.
        hidden_width: Number of columns of the hidden layer.
        maxout_pieces: Number of pieces of its maxout.
        use_upper: Whether to add a layer between the hidden layer and the scores.
        nO: Number of actions. Set by the component if None.

    Example:
        >>> import spacy
        >>> from combinet.interop.spacy import Tok2Vec
        >>> tok2vec = Tok2Vec(8, 1, [50, 50], attrs=["NORM", "SHAPE"])
        >>> model = TransitionBasedParser(tok2vec, "parser")
        >>> model.get_ref("tok2vec").has_dim("nO")
        True
    """
    build = registry.architectures.get("spacy.TransitionBasedParser.v2")
    return build(
        tok2vec, state_type, extra_state_tokens, hidden_width, maxout_pieces, use_upper, nO
    )


def _component(tok2vec: Any, reader: Any, head: cb.Model[Any, Any]) -> Any:
    """Chains the tok2vec and the head, and sets the references that spaCy's components use."""
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
    """A softmax whose backward pass returns dY, because spaCy's losses differentiate the logits.

    The input is an array of logits (n, nO), the output an array of the same shape.

    Args:
        in_prediction: Whether to return probabilities in prediction. If False, prediction returns
            the logits.
    """
    attrs = {"in_prediction": in_prediction}
    return cb.Model("probabilities", _probabilities, attrs=attrs, widths=preserves)


def _probabilities(model: cb.Model[Any, Any], X: Floats2d, run: cb.Run) -> Any:
    wanted = run.train or model.attrs["in_prediction"]
    return run.ops.softmax(X) if wanted else X, lambda dY: dY

"""The layers of the spaCy architectures, compared with those of spaCy and Thinc."""

import numpy as np
import pytest

from helpers.errors import raises

spacy = pytest.importorskip("spacy")

import thinc.api as thinc  # noqa: E402
from spacy.ml.extract_spans import extract_spans as spacys_spans  # noqa: E402
from thinc.types import Ragged as ThincRagged  # noqa: E402

import combinet as cb  # noqa: E402
from combinet.interop.spacy import TextCat, Tok2Vec, move  # noqa: E402
from combinet.interop.spacy.docs import HashTable, doc_features, doc_vectors  # noqa: E402
from combinet.interop.spacy.heads import probabilities  # noqa: E402
from combinet.interop.spacy.margins import with_margins  # noqa: E402
from combinet.interop.spacy.spans import extract_spans  # noqa: E402
from combinet.testing import check_backprop, check_layer  # noqa: E402

TEXTS = ["This is a sentence.", "Short", "", "And 1 more, with Punctuation!?"]
RNG = np.random.default_rng(0)


def documents(nlp):
    return [nlp.make_doc(text) for text in TEXTS]


def with_vectors(mode="default"):
    nlp = spacy.blank("en")
    if mode == "default":
        for i, word in enumerate(("This", "sentence", "more")):
            nlp.vocab.set_vector(word, np.arange(5, dtype="float32") + i)
    else:
        data = RNG.normal(size=(10, 5)).astype("float32")
        nlp.vocab.vectors = spacy.vectors.Vectors(
            data=data, mode=mode, hash_count=2, minn=2, maxn=3, strings=nlp.vocab.strings
        )
    return nlp


def test_doc_features_reads_documents_and_spans():
    nlp = spacy.blank("en")
    docs = documents(nlp)
    batch = [docs[0], docs[3][2:4]]
    Y = doc_features(["NORM", "SHAPE"]).predict(batch)
    assert Y.lengths.tolist() == [5, 2]
    words = [token for doc in batch for token in doc]
    assert Y.data.tolist() == [[token.norm, token.shape] for token in words]
    one = doc_features(["ORTH"]).predict(docs)
    assert one.data[:, 0].tolist() == [token.orth for doc in docs for token in doc]


@pytest.mark.parametrize("mode", ["default", "floret"])
def test_doc_vectors_matches_spacy(mode):
    nlp = with_vectors(mode)
    docs = documents(nlp)
    Y = doc_vectors().predict(docs)
    assert Y.data.dtype == "float32"
    np.testing.assert_array_equal(Y.data, [token.vector for doc in docs for token in doc])


def test_doc_vectors_fails_without_vectors():
    with raises(cb.InputError, "vectors"):
        doc_vectors().predict(documents(spacy.blank("en")))


def test_hash_table_matches_thincs_hash_embed():
    keys = RNG.integers(2**64, size=(50, 2), dtype="uint64")
    theirs = thinc.HashEmbed(3, 17, seed=9).initialize()
    layer = HashTable(3, 17, seed=9, column=1).initialize()
    layer.set_param("E", theirs.get_param("E"))
    Y, backprop = layer.begin_update(keys)
    expected, theirs_back = theirs.begin_update(keys[:, 1])
    np.testing.assert_allclose(Y, expected, rtol=1e-6)
    backprop(Y)
    theirs_back(Y)
    np.testing.assert_allclose(layer.get_grad("E"), theirs.get_grad("E"), rtol=1e-5, atol=1e-6)


LAYERS = {
    "hash_table": (
        lambda: HashTable(3, 17, seed=9, column=1),
        RNG.integers(2**64, size=(5, 2), dtype="uint64"),
    ),
    "with_margins": (
        lambda: cb.with_array(with_margins(cb.expand_window(1) >> cb.Linear(2, 9), 2)),
        [RNG.normal(size=(n, 3)) for n in (2, 0, 3)],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_satisfies_the_invariants(name):
    build, X = LAYERS[name]
    check_layer(build(), X)


@pytest.mark.parametrize("rows", [0, 2, 3])
def test_with_margins_matches_thincs_with_array(rows):
    X = [RNG.normal(size=(n, 3)).astype("float32") for n in (4, 0, 1, 2)]
    theirs = thinc.chain(thinc.expand_window(1), thinc.Linear(3, 9), thinc.expand_window(1))
    padded = thinc.with_array(theirs, pad=rows).initialize()
    for name in ("W", "b"):
        theirs.layers[1].set_param(
            name, RNG.normal(size=(3, 9)[: 2 if name == "W" else 1]).astype("f")
        )
    inner = (cb.expand_window(1) >> cb.Linear(3, 9) >> cb.expand_window(1)).initialize()
    for name in ("W", "b"):
        inner.layers[1].set_param(name, theirs.layers[1].get_param(name))
    Y, backprop = cb.with_array(with_margins(inner, rows)).begin_update(X)
    expected, theirs_back = padded.begin_update(X)
    for ours, wanted in zip(Y + backprop(Y), expected + theirs_back(expected), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)


def test_extract_spans_matches_spacy():
    docs = [RNG.normal(size=(n, 3)).astype("float32") for n in (4, 0, 2)]
    bounds, lengths = (
        np.array([[0, 2], [1, 4], [0, 1], [0, 2]], "int32"),
        np.array([2, 0, 2], "int32"),
    )
    Y, backprop = extract_spans().begin_update((docs, cb.Ragged(bounds, lengths)))
    rows = ThincRagged(np.concatenate(docs), np.array([4, 0, 2], "int32"))
    expected, theirs_back = spacys_spans().begin_update((rows, ThincRagged(bounds, lengths)))
    np.testing.assert_array_equal(Y.data, expected.data)
    assert Y.lengths.tolist() == expected.lengths.tolist()
    dX, none = backprop(Y)
    np.testing.assert_allclose(np.concatenate(dX), theirs_back(expected)[0].data, rtol=1e-6)
    assert none is None


def test_extract_spans_accepts_an_empty_batch_of_spans():
    docs = [np.ones((2, 3), "float32")]
    none = cb.Ragged(np.zeros((0, 2), "int32"), [0])
    Y, backprop = extract_spans().begin_update((docs, none))
    assert Y.data.shape == (0, 3)
    assert np.array_equal(backprop(Y)[0][0], np.zeros((2, 3)))


def test_probabilities_expect_the_gradient_of_the_logits():
    X = RNG.normal(size=(3, 4))
    Y, backprop = probabilities().begin_update(X)
    np.testing.assert_allclose(Y, np.exp(X) / np.exp(X).sum(axis=1, keepdims=True), rtol=1e-12)
    assert np.array_equal(backprop(X), X)
    np.testing.assert_allclose(probabilities().predict(X), Y)
    assert np.array_equal(probabilities(in_prediction=False).predict(X), X)


def test_tok2vec_gradients_are_correct():
    node = Tok2Vec(width=4, depth=2, rows=[7, 5, 5, 5], margins=True)
    reader, *layers = node.shims[0].model.layers
    check_backprop(cb.chain(*layers), reader.predict(documents(spacy.blank("en"))))


def test_tok2vec_fails_unless_rows_match_attributes():
    with raises(cb.InputError, "'NORM'", "[3, 4]"):
        Tok2Vec(width=4, depth=1, rows=[3, 4], attrs=["NORM"])


def test_textcat_accepts_an_empty_document():
    nlp = spacy.blank("en")
    model = TextCat(Tok2Vec(width=4, depth=1, rows=[5, 5, 5, 5]), exclusive_classes=True, nO=2)
    model.initialize(documents(nlp))
    np.testing.assert_allclose(model.predict([nlp.make_doc("")]), [[0.5, 0.5]], atol=1e-6)


# -- moving pipelines --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"subword_features": False, "depth": 1},
        {"pretrained_vectors": True, "window_size": 2, "maxout_pieces": 2},
    ],
)
def test_move_keeps_the_vectors_of_a_hash_embed_cnn(settings):
    nlp = with_vectors()
    config = {
        "@architectures": "spacy.HashEmbedCNN.v2", "width": 16, "depth": 4, "embed_size": 50,
        "window_size": 1, "maxout_pieces": 3, "subword_features": True, "pretrained_vectors": None,
    } | settings  # fmt: skip
    nlp.add_pipe("tok2vec", config={"model": config})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16}
    nlp.add_pipe(
        "tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}}
    )
    nlp.add_pipe("ner", config={"model": {"tok2vec": config}})
    for label in ("A", "B"):
        nlp.get_pipe("tagger").add_label(label)
    nlp.initialize()
    for node in nlp.get_pipe("tok2vec").model.walk():
        for name in node.param_names:  # biases start at 0, gains at 1
            node.set_param(name, node.get_param(name) + 0.1)
    texts = [text for text in TEXTS if text]
    before = [doc.tensor for doc in nlp.pipe(texts)]
    parser = nlp.get_pipe("ner").model.get_ref("tok2vec")
    states = parser.predict(documents(nlp))
    assert move(nlp) is nlp
    loaded = spacy.util.load_model_from_config(nlp.config, vocab=nlp.vocab)
    loaded.from_bytes(nlp.to_bytes())
    for each in (nlp, loaded):
        for doc, tensor in zip(each.pipe(texts), before, strict=True):
            np.testing.assert_allclose(doc.tensor, tensor, atol=1e-5)
        moved = each.get_pipe("ner").model.get_ref("tok2vec").predict(documents(each))
        np.testing.assert_allclose(moved, states, atol=1e-5)
    with raises(cb.InputError, "tok2vec"):
        move(nlp)


def test_move_fails_for_unsupported_pipelines():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    with raises(cb.InputError, "'sentencizer'", "tok2vec"):
        move(nlp)
    nlp.add_pipe("tok2vec")
    with raises(cb.StateError, "hashembed", "weights"):
        move(nlp)
    nlp.get_pipe_config("tok2vec")["model"]["@architectures"] = "another.v1"
    with raises(cb.InputError, "tok2vec", "1", "0"):
        move(nlp)
    characters = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {"@architectures": "spacy.CharacterEmbed.v2", "width": 8, "rows": 10, "nM": 2,
                  "nC": 2, "include_static_vectors": False},
        "encode": {"@architectures": "spacy.MaxoutWindowEncoder.v2", "width": 8, "depth": 1,
                   "window_size": 1, "maxout_pieces": 2},
    }  # fmt: skip
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": characters})
    with raises(cb.InputError, "MultiHashEmbed", "MaxoutWindowEncoder"):
        move(nlp)

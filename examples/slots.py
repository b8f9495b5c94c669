"""Learn which words of a request fill which slot: 39 kinds of slots, 13,000 requests (SNIPS).

    python examples/slots.py --data DIR                 learn, report on the test file
    python examples/slots.py --data DIR --vectors DIR   learn with word vectors
    python examples/slots.py --ask "play some jazz by miles davis"
                                                        ask the trained model

DIR contains train.tsv.gz, valid.tsv.gz and test.tsv.gz; see snips.py. If a model was trained with
word vectors, pass --vectors to --ask too. The model with the best score on the valid file so far
is always on disk; Ctrl-C keeps it.

The model is a BiLSTM-CRF: Lample et al. 2016, "Neural Architectures for Named Entity Recognition",
arXiv:1603.01360, with hashed features instead of a model of characters.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import snips
from combinet import (
    CRF,
    LSTM,
    CRFLoss,
    Dropout,
    Linear,
    Model,
    viterbi,
    with_array,
    with_flatten,
    with_padded,
)
from snips import Corpus, Request
from training import Recipe, most_frequent, outputs, train
from vectors import Vectors
from words import Keys

RECIPE = Recipe(hidden=(((0,), 0.2),), epochs=8, learn_rate=0.006, drop=0.4, batch=(600, 600))
OTHERS = {  # in percent; published if a paper is named, otherwise measured on these files
    "linear SVM over a window of words": 82.0,
    "slot-gated BiLSTM (Goo et al. 2018)": 88.8,
    "spaCy 3.8, named entities": 90.9,
    "Stack-Propagation (Qin et al. 2019)": 94.2,
    "Stack-Propagation with BERT (Qin et al. 2019)": 97.0,
}


def build(vectors: Vectors | None, width: int = 128, units: int = 300) -> Model[list[Keys], Any]:
    """Returns the model. The number of tags is inferred."""
    read = with_flatten(snips.embed(width, vectors))
    encode = with_padded(LSTM(units, bi=True)) >> with_array(Dropout() >> Linear())
    model = read >> encode >> CRF()
    model.attrs |= {"labels": [], "known": []}
    return model


def learn(corpus: Corpus, vectors: Vectors | None, recipe: Recipe, path: Path) -> None:
    """Trains, loads the model from disk, and reports on the test part."""
    X, valid, test = (snips.encode([request.words for request in part], vectors) for part in corpus)
    model = build(vectors)
    model.attrs["labels"] = sorted({tag for request in corpus.train for tag in request.tags})
    number = {tag: i for i, tag in enumerate(model.attrs["labels"])}
    truths = [np.array([number[tag] for tag in request.tags]) for request in corpus.train]
    model.initialize(X[:1], [np.eye(len(number))[truths[0]]], rng=recipe.seed)
    loss = CRFLoss()
    train(model, (X, truths), loss, lambda: score(model, valid, corpus.valid), recipe, path)
    model = build(vectors).from_disk(path)
    data = [(request.words, request.tags) for request in corpus.train]
    guesses = most_frequent(data, [request.words for request in corpus.test])
    baseline = 100 * span_f1(guesses, [request.tags for request in corpus.test])
    others = {"the most frequent tag of each word": baseline, **OTHERS}
    snips.report("span F1", score(model, test, corpus.test), others)


def score(model: Model[list[Keys], Any], X: list[Keys], requests: list[Request]) -> float:
    """Returns the span F1 of the model's tags."""
    return span_f1(predict(model, X), [request.tags for request in requests])


def predict(model: Model[list[Keys], Any], X: list[Keys]) -> list[list[str]]:
    """Returns the best tags of each sentence."""
    tagger = model >> viterbi()
    tagger.attrs |= model.attrs
    return [[model.attrs["labels"][i] for i in Y] for Y in outputs(tagger, X)]


class Span(NamedTuple):
    """Words from `start` to `stop` - 1, which fill a slot of this kind."""

    start: int
    stop: int
    kind: str


def spans(tags: Sequence[str]) -> list[Span]:
    """Returns the slots that the tags mark, with the rules of conlleval.

    A slot begins at B-, and at an I- that does not continue a slot of the same kind.
    """
    found: list[Span] = []
    start, kind = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        goes_on = tag == f"I-{kind}"
        if kind and not goes_on:
            found.append(Span(start, i, kind))
        if not goes_on:
            start, kind = i, tag[2:]
    return found


def span_f1(guesses: Sequence[Sequence[str]], truths: Sequence[Sequence[str]]) -> float:
    """Returns F1 of slots, from 0 to 1. A slot is right if its words and its kind are."""
    found = [set(spans(tags)) for tags in guesses]
    wanted = [set(spans(tags)) for tags in truths]
    right = sum(len(a & b) for a, b in zip(found, wanted, strict=True))
    total = sum(map(len, found)) + sum(map(len, wanted))
    return 2 * right / total if total else 0.0


def answer(docs: list[list[str]], vectors: Vectors | None, path: Path) -> list[str]:
    """Returns each sentence with its slots in brackets."""
    model = build(vectors).from_disk(path)
    return list(map(bracket, docs, predict(model, snips.encode(docs, vectors))))


def bracket(words: Sequence[str], tags: Sequence[str]) -> str:
    """Returns the words with slots in brackets: `play [jazz: genre]`."""
    marked = list(words)
    for span in spans(tags):
        marked[span.start] = f"[{marked[span.start]}"
        marked[span.stop - 1] += f": {span.kind}]"
    return " ".join(marked)


if __name__ == "__main__":
    path = Path("models", "slots.combinet")
    sys.exit(snips.run(snips.Example(__doc__, path, RECIPE, learn, answer)))

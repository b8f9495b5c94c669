"""Learn what people want of a voice assistant: seven intents, from 13,000 requests (SNIPS).

    python examples/intents.py --data DIR                 learn, report on the test file
    python examples/intents.py --data DIR --vectors DIR   with word vectors
    python examples/intents.py --ask "play some jazz by miles davis"
                                                          ask the model that has been learned

DIR holds train.tsv.gz, valid.tsv.gz and test.tsv.gz; see snips.py. A model that was learned with
word vectors is asked with them. The best model so far, by the valid file, is always on disk;
Ctrl-C keeps it.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import snips
from combinet import (
    CategoricalCrossentropy,
    Dropout,
    LayerNorm,
    Maxout,
    Model,
    ParametricAttention,
    Softmax,
    expand_window,
    list2ragged,
    reduce_sum,
    residual,
    with_flatten,
)
from snips import Corpus, Request
from training import Recipe, most_frequent, outputs, train
from vectors import Vectors
from words import Keys

RECIPE = Recipe(hidden=(((0,), 0.4),), epochs=8, drop=0.5, batch=(600, 600))
OTHERS = {  # in percent; published where a paper is named, else measured on these files
    "slot-gated BiLSTM (Goo et al. 2018)": 97.0,
    "spaCy 3.8, text classifier, ensemble": 97.0,
    "TF-IDF, linear SVM": 98.0,
    "Stack-Propagation (Qin et al. 2019)": 98.0,
    "Stack-Propagation with BERT (Qin et al. 2019)": 99.0,
}


def build(vectors: Vectors | None, width: int = 96, depth: int = 2) -> Model[list[Keys], Any]:
    """The model. How many intents there are is inferred."""
    encode = residual(expand_window(1) >> Maxout(width) >> LayerNorm() >> Dropout()) ** depth
    read = with_flatten(snips.embed(width, vectors) >> encode)
    model = read >> list2ragged() >> ParametricAttention() >> reduce_sum() >> Softmax()
    model.attrs |= {"labels": [], "known": []}
    return model


def learn(corpus: Corpus, vectors: Vectors | None, recipe: Recipe, path: Path) -> None:
    """Train, and report on the test part with the model loaded from disk."""
    X, valid, test = (snips.encode([request.words for request in part], vectors) for part in corpus)
    model = build(vectors)
    model.attrs["labels"] = sorted({request.intent for request in corpus.train})
    truths = [model.attrs["labels"].index(request.intent) for request in corpus.train]
    model.initialize(X[:1], np.eye(len(model.attrs["labels"]))[truths[:1]], rng=recipe.seed)
    loss = CategoricalCrossentropy()
    train(model, (X, truths), loss, lambda: accuracy(model, valid, corpus.valid), recipe, path)
    model = build(vectors).from_disk(path)
    baseline = {"each word votes for its most frequent intent": 100 * vote(corpus)}
    snips.report("accuracy", accuracy(model, test, corpus.test), baseline | OTHERS)


def accuracy(model: Model[list[Keys], Any], X: list[Keys], requests: list[Request]) -> float:
    """The share of requests whose intent is found."""
    found: list[str] = [model.attrs["labels"][Y.argmax()] for Y in outputs(model, X)]
    right = [a == request.intent for a, request in zip(found, requests, strict=True)]
    return sum(right) / len(right)


def vote(corpus: Corpus) -> float:
    """The accuracy on the test part of the majority of each word's most frequent intent."""
    data = [(request.words, [request.intent] * len(request.words)) for request in corpus.train]
    votes = most_frequent(data, [request.words for request in corpus.test])
    found = [Counter(vote).most_common(1)[0][0] for vote in votes]
    right = [a == request.intent for a, request in zip(found, corpus.test, strict=True)]
    return sum(right) / len(right)


def answer(docs: list[list[str]], vectors: Vectors | None, path: Path) -> list[str]:
    """The intent of each sentence, and how sure the model is."""
    model = build(vectors).from_disk(path)
    labels = model.attrs["labels"]
    found = outputs(model, snips.encode(docs, vectors))
    return [
        f"{' '.join(doc)}: {labels[Y.argmax()]} ({Y.max():.1%})"
        for doc, Y in zip(docs, found, strict=True)
    ]


if __name__ == "__main__":
    path = Path("models", "intents.combinet")
    sys.exit(snips.run(snips.Example(__doc__, path, RECIPE, learn, answer)))

"""Learn the intent of requests to a voice assistant: seven intents, 13,000 requests (SNIPS).

    python examples/intents.py --data DIR                 learn, report on the test file
    python examples/intents.py --data DIR --vectors DIR   learn with word vectors
    python examples/intents.py --ask "play some jazz by miles davis"
                                                          ask the trained model

DIR contains train.tsv.gz, valid.tsv.gz and test.tsv.gz; see snips.py. If a model was trained with
word vectors, pass --vectors to --ask too. The model with the best score on the valid file so far
is always on disk; Ctrl-C keeps it.
"""

import sys
from collections import Counter
from collections.abc import Iterator
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
    reduce_max,
    reduce_sum,
    residual,
    tuple_getitem,
    tuplify,
    with_flatten,
)
from snips import Corpus, Request
from training import Recipe, most_frequent, outputs, per_word, train
from vectors import Vectors
from words import Keys

RECIPE = Recipe(hidden=(((0,), 0.4),), epochs=8, drop=0.4, blanked=0.2, batch=(600, 600))
OTHERS = {  # in percent; published if a paper is named, otherwise measured on these files
    "slot-gated BiLSTM (Goo et al. 2018)": 97.0,
    "spaCy 3.8, text classifier, ensemble": 97.0,
    "TF-IDF, linear SVM": 98.0,
    "Stack-Propagation (Qin et al. 2019)": 98.0,
    "Stack-Propagation with BERT (Qin et al. 2019)": 99.0,
}


def build(vectors: Vectors | None, width: int = 128, depth: int = 2) -> Model[list[Keys], Any]:
    """Returns the model, which predicts the intent of each sentence and the tags of its words.

    Learning the tags helps, because the slots of a request say much about its intent. The numbers
    of intents and tags are inferred.
    """
    encode = residual(expand_window(1) >> Maxout(width) >> LayerNorm() >> Dropout()) ** depth
    read = with_flatten(snips.embed(width, vectors) >> encode)
    pool = list2ragged() >> ((ParametricAttention() >> reduce_sum()) | reduce_max())
    model = read >> tuplify(pool >> Softmax(), with_flatten(Softmax()))
    model.attrs |= {"labels": [], "known": []}
    return model


def loss(guesses: Any, truths: list[tuple[int, Any]]) -> tuple[Any, Any]:
    """Returns the gradients of both outputs, and the sum of the losses of intents and tags."""
    intents, tags = guesses
    d_intents, value = CategoricalCrossentropy()(intents, [intent for intent, _ in truths])
    d_tags, value_of_tags = per_word(tags, [numbers for _, numbers in truths])
    return (d_intents, d_tags), value + value_of_tags


def learn(corpus: Corpus, vectors: Vectors | None, recipe: Recipe, path: Path) -> None:
    """Trains, loads the model from disk, and reports on the test part."""
    X, valid, test = (snips.encode([request.words for request in part], vectors) for part in corpus)
    model = build(vectors)
    model.attrs["labels"] = sorted({request.intent for request in corpus.train})
    tags = sorted({tag for request in corpus.train for tag in request.tags})
    number = {name: i for names in (model.attrs["labels"], tags) for i, name in enumerate(names)}
    truths = [
        (number[request.intent], np.array([number[tag] for tag in request.tags]))
        for request in corpus.train
    ]
    sizes = len(model.attrs["labels"]), len(tags)
    model.initialize(X[:1], (np.ones((1, sizes[0])), [np.ones((1, sizes[1]))]), rng=recipe.seed)
    train(model, (X, truths), loss, lambda: accuracy(model, valid, corpus.valid), recipe, path)
    model = build(vectors).from_disk(path)
    baseline = {"each word votes for its most frequent intent": 100 * vote(corpus)}
    snips.report("accuracy", accuracy(model, test, corpus.test), baseline | OTHERS)


def accuracy(model: Model[list[Keys], Any], X: list[Keys], requests: list[Request]) -> float:
    """Returns the share of requests with the right intent."""
    found: list[str] = [model.attrs["labels"][Y.argmax()] for Y in intents(model, X)]
    right = [a == request.intent for a, request in zip(found, requests, strict=True)]
    return sum(right) / len(right)


def intents(model: Model[list[Keys], Any], X: list[Keys]) -> Iterator[Any]:
    """Yields the probabilities of the intents for each sentence."""
    asked = model >> tuple_getitem(0)
    asked.attrs |= model.attrs
    return outputs(asked, X)


def vote(corpus: Corpus) -> float:
    """Returns the test accuracy of a vote: each word votes for its most frequent intent."""
    data = [(request.words, [request.intent] * len(request.words)) for request in corpus.train]
    votes = most_frequent(data, [request.words for request in corpus.test])
    found = [Counter(vote).most_common(1)[0][0] for vote in votes]
    right = [a == request.intent for a, request in zip(found, corpus.test, strict=True)]
    return sum(right) / len(right)


def answer(docs: list[list[str]], vectors: Vectors | None, path: Path) -> list[str]:
    """Returns a line for each sentence with its intent and the intent's probability."""
    model = build(vectors).from_disk(path)
    labels = model.attrs["labels"]
    found = intents(model, snips.encode(docs, vectors))
    return [
        f"{' '.join(doc)}: {labels[Y.argmax()]} ({Y.max():.1%})"
        for doc, Y in zip(docs, found, strict=True)
    ]


if __name__ == "__main__":
    path = Path("models", "intents.combinet")
    sys.exit(snips.run(snips.Example(__doc__, path, RECIPE, learn, answer)))

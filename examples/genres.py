"""Learn the genre of documents, from words to sentences to documents (hierarchical attention).

    python examples/genres.py --train A.conllu --dev B.conllu --test C.conllu --vectors DIR
                                               learn, report on the test file
    python examples/genres.py --ask "I loved this place. The food was great!" --vectors DIR
                                               ask the trained model

The files are treebanks in CoNLL-U format (or .gz) with comments `# newdoc id = GENRE-...`, such as
English EWT of Universal Dependencies. DIR contains word vectors, see vectors.py. The model with the
best dev accuracy so far is always on disk; Ctrl-C keeps it.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from combinet import (
    Adam,
    CategoricalCrossentropy,
    Dropout,
    HashEmbed,
    LayerNorm,
    Linear,
    Maxout,
    Model,
    ParametricAttention,
    Softmax,
    concatenate,
    elementwise,
    expand_window,
    list2ragged,
    reduce_sum,
    to_categorical,
    warmup_linear,
    with_array,
    with_flatten,
)
from combinet.text import features, lower, prefix, shape, suffix
from combinet.types import Floats2d, Generator, Ints
from conllu import read_documents
from fitting import Batch, Plan, fit
from training import exit_status
from vectors import Vectors, look_up, read_vectors

Document: TypeAlias = list[Ints]  # for each sentence, features of its words
Classifier: TypeAlias = Model[list[Document], Floats2d]

PATH = Path("models", "genres.combinet")
FEATURES = (lower, suffix(3), shape, str, prefix(3))
TABLES = ((32, 4000), (16, 1000), (8, 500), (32, 6000), (16, 2000))  # width and rows by feature
DROP, HIDDEN, PASSAGE = 0.5, 0.2, 25  # rates, and the mean number of sentences in a passage


def build(vectors: Vectors, width: int = 32) -> Classifier:
    """Returns the model. Its input is a list of documents, each a list of sentences."""
    tables: list[Model[Any, Any]] = [
        HashEmbed(nO, nV, column=i, seed=i) for i, (nO, nV) in enumerate(TABLES)
    ]
    embed: Model[Any, Any] = with_flatten(
        concatenate(look_up(vectors) >> Linear(width), *tables) >> Dropout()
    )
    sentences = list2ragged() >> encode(width)  # a row for each sentence
    model: Classifier = embed >> sentences >> encode(width) >> Dropout() >> Softmax()
    model.attrs["genres"] = []
    return model


def encode(width: int) -> Model[Any, Any]:
    """Returns a layer that reads the rows of each sequence in context and reduces them to one."""
    read = with_array(expand_window(1) >> Maxout(width) >> LayerNorm() >> Dropout())
    keys = Linear(width) >> elementwise(np.tanh, name="tanh")
    return read >> ParametricAttention(key_transform=keys) >> reduce_sum()


def keys_of(documents: Sequence[Sequence[Sequence[str]]]) -> list[Document]:
    """Returns the hashed features of all words."""
    return [features(sentences, FEATURES) for sentences in documents]


def passage(document: Document, rng: Generator) -> Document:
    """Returns some neighboring sentences of a document, with the keys of some words hidden."""
    n = min(len(document), int(rng.geometric(1 / PASSAGE)))
    start = rng.integers(0, len(document) - n + 1)
    shown = [sentence.copy() for sentence in document[start : start + n]]
    for sentence in shown:
        sentence[rng.random(len(sentence)) < HIDDEN] = 0
    return shown


def learn(files: Sequence[Path], vectors: Vectors, path: Path, epochs: int, seed: int = 0) -> None:
    """Trains, loads the best model from disk and reports on the last of the three files."""
    parts = [read_documents(path) for path in files]
    genres = [[re.split("[-_]", name)[0] for name, _ in part] for part in parts]
    X = [keys_of([sentences for _, sentences in part]) for part in parts]
    model, names = build(vectors), sorted({*genres[0]})
    model.attrs["genres"] = names
    truths = np.array([names.index(genre) for genre in genres[0]])
    model.initialize(X[0][:8], to_categorical(truths[:8], n_classes=len(names)), rng=seed)
    steps = epochs * (3 * len(truths) // 16)
    sgd, rng = Adam(warmup_linear(0.003, steps // 20, steps), L2=0.01), model.rng

    def epoch(number: int) -> Iterator[Batch]:
        for _ in range(3 * len(truths) // 16):  # about three passages of each document
            chosen = rng.integers(0, len(truths), 16)
            passages = [passage(X[0][i], rng) for i in chosen]
            yield Batch(passages, truths[chosen], len(chosen))

    plan = Plan(epochs, 3 * len(truths), "passages", "dev {:.2%}")
    score = partial(accuracy, model, X[1], genres[1])
    fit(model, epoch, CategoricalCrossentropy(), sgd, score, plan, DROP, path)
    model = build(vectors).from_disk(path)
    most = Counter(genres[0]).most_common(1)[0][0]
    print(f"{genres[2].count(most) / len(genres[2]):8.2%}  always '{most}'")
    print(f"{accuracy(model, X[2], genres[2]):8.2%}  test accuracy")


def accuracy(model: Classifier, X: list[Document], genres: list[str]) -> float:
    """Returns the share of documents with the right genre."""
    names = np.array(model.attrs["genres"])
    found = names[model.predict(X).argmax(axis=1)]
    return float((found == np.array(genres)).mean())


def ask(text: str, vectors: Vectors, path: Path) -> str:
    """Returns the genre of a text and its probability. Sentences end with a full stop, ! or ?"""
    sentences = [re.findall(r"\w+|[^\w\s]", each) for each in re.split(r"(?<=[.!?])\s+", text)]
    model = build(vectors).from_disk(path)
    (Y,) = model.predict(keys_of([[each for each in sentences if each]]))
    return f"{model.attrs['genres'][Y.argmax()]} ({Y.max():.1%})"


def main() -> None:
    """Trains a model, or asks the trained one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for part in ("train", "dev", "test"):
        parser.add_argument(f"--{part}", type=Path, metavar="FILE")
    parser.add_argument("--vectors", type=Path, metavar="DIR", required=True)
    parser.add_argument("--model", type=Path, metavar="FILE", default=PATH)
    parser.add_argument("--ask", metavar="TEXT", help="print the genre of this text")
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    files = [args.train, args.dev, args.test]
    if (args.ask is None) == (None in files):
        parser.error("pass --train, --dev and --test, or --ask")
    if args.ask is None:
        learn(files, read_vectors(args.vectors), args.model, args.epochs)
    else:
        print(ask(args.ask, read_vectors(args.vectors), args.model))


if __name__ == "__main__":
    sys.exit(exit_status(main, PATH))

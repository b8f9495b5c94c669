"""Requests to a voice assistant (SNIPS): reading files, hashing words, the command line.

Each line of `train.tsv.gz`, `valid.tsv.gz` and `test.tsv.gz` is one request: its intent, its words
and their tags, separated by tabs. Words and tags are separated by single spaces. A tag is O, or the
kind of a slot after B- for its first word and I- for its other words.

The data is from Coucke et al. 2018, "Snips Voice Platform", arXiv:1805.10190, in the split of
Goo et al. 2018.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from combinet import (
    Dropout,
    HashEmbed,
    LayerNorm,
    Maxout,
    Model,
    StaticVectors,
    concatenate,
    uniform,
)
from combinet.text import features, prefix, shape, suffix
from lines import MalformedLine, numbered_lines
from training import Recipe, exit_status
from vectors import Vectors, read_vectors
from words import GRAMS, Column, Keys, letters, spell


class Request(NamedTuple):
    """A sentence with its intent and the tags of its words."""

    intent: str
    words: list[str]
    tags: list[str]


class Corpus(NamedTuple):
    """The requests to train on, to choose the best model, and to report on."""

    train: list[Request]
    valid: list[Request]
    test: list[Request]


def read_corpus(folder: Path) -> Corpus:
    """Reads the parts from a folder. Raises MalformedLine or OSError."""
    return Corpus(*(read_requests(folder / f"{part}.tsv.gz") for part in Corpus._fields))


def read_requests(path: Path) -> list[Request]:
    """Reads the requests of a file. Raises MalformedLine or OSError."""
    requests = []
    for number, line in numbered_lines(path):
        try:
            requests.append(parse_request(line))
        except ValueError as error:
            raise MalformedLine(f"{path}:{number}: {error}") from None
    if not requests:
        raise MalformedLine(f"{path}: expected at least one request, got none")
    return requests


def parse_request(line: str) -> Request:
    """Parses the request of one line. Raises ValueError."""
    columns = line.split("\t")
    if len(columns) != 3:
        raise ValueError(f"expected 3 columns separated by tabs, got {len(columns)}: {line[:60]!r}")
    intent, words, tags = columns[0], columns[1].split(" "), columns[2].split(" ")
    if not intent or not all(words):
        raise ValueError(f"expected an intent and words with single spaces, got {line[:60]!r}")
    if len(words) != len(tags):
        raise ValueError(f"expected a tag for each of {len(words)} words, got {len(tags)}")
    for tag in tags:
        if tag != "O" and not (tag[:2] in ("B-", "I-") and tag[2:]):
            raise ValueError(f"expected O, or B- or I- with a kind of slot, got {tag!r}")
    return Request(intent, words, tags)


def words_of(text: str) -> list[str]:
    """Returns the words of a sentence in the form that the files use."""
    words = (word.strip(".,!?") for word in text.lower().replace("'", " ").split())
    return [word for word in words if word]


COLUMNS = (
    Column(str, 96, 6000),
    Column(prefix(2), 16, 1000),
    Column(prefix(3), 32, 3000),
    Column(suffix(1), 8, 200),
    Column(suffix(2), 24, 1000),
    Column(suffix(3), 32, 3000),
    Column(shape, 16, 500),
)
NUMBER = len(COLUMNS)  # the column for the row of a word's vector; 0 if it has none


def encode(docs: Sequence[Sequence[str]], vectors: Vectors | None) -> list[Keys]:
    """Returns features of each word: columns for COLUMNS, its vector's row and letter n-grams."""
    rows = {word: row for row, word in enumerate(vectors.words if vectors else (), 1)}
    encoded = []
    per_word = features(docs, [column.feature for column in COLUMNS])
    for doc, keys in zip(docs, per_word, strict=True):
        numbers = np.array([rows.get(word, 0) for word in doc], dtype="uint64")
        spelled = np.array([spell(word) for word in doc], dtype="uint64").reshape(-1, GRAMS)
        encoded.append(np.column_stack([keys, numbers, spelled]))
    return encoded


def embed(width: int, vectors: Vectors | None) -> Model[Any, Any]:
    """Returns a layer that embeds words by their features and, if given, word vectors."""
    tables: list[Model[Any, Any]] = [
        HashEmbed(c.width, c.rows, column=i, seed=i, init=uniform(-0.02, 0.02))
        for i, c in enumerate(COLUMNS)
    ]
    if vectors:
        table = np.pad(vectors.table / vectors.table.std(), ((1, 0), (0, 0)))
        tables.append(StaticVectors(table, column=NUMBER))
    tables.append(letters(64, 15_000))
    return concatenate(*tables) >> Dropout() >> Maxout(width) >> LayerNorm() >> Dropout()


class Example(NamedTuple):
    """What the command line of an example needs."""

    doc: str | None
    model: Path  # the model's file
    recipe: Recipe
    learn: Callable[[Corpus, Vectors | None, Recipe, Path], None]
    answer: Callable[[list[list[str]], Vectors | None, Path], list[str]]  # a line for each sentence


QUESTIONS = (
    "play some jazz by miles davis",
    "book a table for two in paris at 8 pm",
    "what's the weather like in zermatt next weekend?",
)


def run(example: Example) -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=example.doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the training files")
    parser.add_argument("--vectors", type=Path, help="folder of vectors.npy and words.txt.gz")
    parser.add_argument("--ask", action="append", help="a sentence to answer; may be repeated")
    parser.add_argument("--model", type=Path, default=example.model, help="the model's file")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    parser.add_argument("--quick", action="store_true", help="train for only two epochs")
    args = parser.parse_args()
    if not args.data and not args.ask:
        parser.error("expected --data to train, or --ask to ask a trained model")

    def work() -> None:
        vectors = read_vectors(args.vectors) if args.vectors else None
        if args.data:
            corpus = read_corpus(args.data)
            sizes = [len(part) for part in corpus]
            print("requests: {:,} to train, {:,} valid, {:,} test".format(*sizes), flush=True)
            epochs = 2 if args.quick else example.recipe.epochs
            recipe = example.recipe._replace(epochs=epochs, seed=args.seed)
            example.learn(corpus, vectors, recipe, args.model)
        questions = list(filter(None, map(words_of, args.ask or QUESTIONS)))
        for line in example.answer(questions, vectors, args.model):
            print(line)

    return exit_status(work, args.model)


def report(what: str, reached: float, others: dict[str, float]) -> None:
    """Prints a result on the test part, from 0 to 1, and other models' results in percent."""
    print(f"test {what} {reached:.2%}; for comparison:")
    for name, value in others.items():
        print(f"  {value:5.1f}%  {name}")

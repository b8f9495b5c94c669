"""Learn to tag words: the roles of Python's tokens, or the parts of speech of any language.

    python examples/tag.py                     learn Python's standard library, colour a fragment
    python examples/tag.py --quick             learn from less data, with lower accuracy
    python examples/tag.py --file PATH         colour your own file
    python examples/tag.py --train A.conllu --dev B.conllu --test C.conllu
                                               train a part-of-speech tagger on a treebank (or .gz)

The model with the best dev accuracy so far is always on disk; Ctrl-C keeps it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

import python_source
from combinet import (
    Dropout,
    HashEmbed,
    LayerNorm,
    Maxout,
    Model,
    Softmax,
    concatenate,
    expand_window,
    residual,
    uniform,
    with_flatten,
)
from combinet.text import features, hash_text, lower, shape
from combinet.types import Floats2d, Ints
from conllu import Sentence, read_conllu
from training import Recipe, exit_status, most_frequent, outputs, per_word, train
from words import GRAMS, Column, Keys, letters, spell

Tagger: TypeAlias = Model[list[Ints], list[Floats2d]]


COLUMNS = (
    Column(lower, 64, 5000),
    Column(str, 32, 3000),
    Column(lambda word: word[:1].lower(), 16, 500),
    Column(lambda word: word[:2].lower(), 16, 1000),
    Column(lambda word: word[:3].lower(), 32, 2000),
    Column(lambda word: word[-1:].lower(), 16, 500),
    Column(lambda word: word[-2:].lower(), 32, 1000),
    Column(lambda word: word[-3:].lower(), 32, 2000),
    Column(lambda word: word[-4:].lower(), 32, 3000),
    Column(shape, 32, 500),
)
CONTEXT = (  # the word and the one before, the word and the one after, the sentence's style
    Column(None, 32, 10_000),
    Column(None, 32, 10_000),
    Column(None, 16, 500),
)
HIDDEN = (((0, 1), 0.2), ((10,), 0.5), ((11,), 0.5))  # the word itself, and each pair


TREEBANK_SIZES = {"width": 128, "depth": 2}
PYTHON_SIZES = {"width": 96, "depth": 2}


def build(width: int, depth: int) -> Tagger:
    """Returns the model. The number of labels is inferred."""
    tables = [
        HashEmbed(c.width, c.rows, column=i, seed=i, init=uniform(-0.02, 0.02))
        for i, c in enumerate(COLUMNS + CONTEXT)
    ]
    tables.append(letters(64, 15_000))
    embed = concatenate(*tables) >> Dropout() >> Maxout(width) >> LayerNorm() >> Dropout()
    encode = residual(expand_window(1) >> Maxout(width) >> LayerNorm() >> Dropout()) ** depth
    tagger = with_flatten(embed >> encode >> Softmax())
    tagger.attrs |= {"labels": [], "known": []}
    return tagger


def style(doc: Sequence[str]) -> str:
    """The style of a sentence: quarters of capitalized and all-caps words, its end, its length."""
    words = [word for word in doc if word[:1].isalpha()]
    capitalized = 4 * sum(word[0].isupper() for word in words) // max(1, len(words))
    shouted = 4 * sum(len(word) > 1 and word.isupper() for word in words) // max(1, len(words))
    end = doc[-1][-1:] if doc else ""
    return f"{capitalized} {shouted} {'x' if end.isalnum() else end} {min(3, len(doc) // 4)}"


def encode(docs: Sequence[list[str]]) -> list[Keys]:
    """Returns hashed features of each word: columns for COLUMNS, CONTEXT and letter n-grams."""
    encoded = []
    per_word = features(docs, [column.feature for column in COLUMNS])
    for doc, keys in zip(docs, per_word, strict=True):
        lowered = keys[:, 0]
        around = np.pad(lowered, 1)
        before, after = around[:-2] * np.uint64(3), around[2:] * np.uint64(5)
        written = np.full(len(doc), hash_text(style(doc)), dtype="uint64")
        spelled = np.array([spell(word) for word in doc], dtype="uint64").reshape(-1, GRAMS)
        context = [lowered ^ before, lowered ^ after, written]
        encoded.append(np.column_stack([keys, *context, spelled]))
    return encoded


class Corpus(NamedTuple):
    """The sentences to train on, to choose the best model, and to report on."""

    train: list[Sentence]
    dev: list[Sentence]
    test: list[Sentence]


def python_corpus(words: int) -> Corpus:
    """Lines of whole modules of the standard library with roles; about `words` training words."""
    parts = python_source.split(python_source.modules())
    limits = (words, words // 10, words // 10)
    return Corpus(*(_read_modules(part, limit) for part, limit in zip(parts, limits, strict=True)))


def _read_modules(paths: list[Path], limit: int) -> list[Sentence]:
    rng = np.random.default_rng(0)
    sentences: list[Sentence] = []
    count = 0
    for i in rng.permutation(len(paths)).tolist():
        try:
            lines = python_source.label(paths[i].read_text(encoding="utf8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # a few modules contain examples of invalid source
        sentences += lines
        count += sum(len(words) for words, _ in lines)
        if count >= limit:
            break
    return sentences


def answer(label: str) -> str:
    """Returns a label without its refinement."""
    return label.partition("|")[0]


def predict(tagger: Tagger, X: list[Keys]) -> list[list[str]]:
    """Returns the label of each word with the highest total probability over its refinements."""
    labels = list(map(answer, tagger.attrs["labels"]))
    answers = sorted(set(labels))
    refines = np.array([[label == each for each in answers] for label in labels], dtype="f")
    return [[answers[i] for i in (Y @ refines).argmax(axis=1)] for Y in outputs(tagger, X)]


def score(tagger: Tagger, X: list[Keys], labels: list[list[str]]) -> tuple[float, float]:
    """Returns the accuracy, from 0 to 1, and the words tagged per second."""
    start = time.perf_counter()
    found = predict(tagger, X)
    seconds = time.perf_counter() - start
    return accuracy_of(found, labels), sum(map(len, labels)) / seconds


def accuracy_of(found: list[list[str]], labels: list[list[str]]) -> float:
    """Returns the share of words with the right label, without refinements."""
    right = [
        guess == answer(label)
        for line, truth in zip(found, labels, strict=True)
        for guess, label in zip(line, truth, strict=True)
    ]
    return sum(right) / len(right)


def learn(corpus: Corpus, sizes: dict[str, int], recipe: Recipe, path: Path) -> Tagger:
    """Trains, reports on the test part with a baseline, and returns the model loaded from disk."""
    counts = [sum(len(words) for words, _ in part) for part in corpus]
    print("words: {:,} to train, {:,} dev, {:,} test".format(*counts), flush=True)
    (X, labels), dev, test = (
        (encode([words for words, _ in part]), [labels for _, labels in part]) for part in corpus
    )
    tagger = build(**sizes)
    tagger.attrs["labels"] = sorted({label for line in labels for label in line})
    number = {label: i for i, label in enumerate(tagger.attrs["labels"])}
    truths = [np.array([number[label] for label in line]) for line in labels]
    tagger.initialize(X[:1], [np.eye(len(number))[truth] for truth in truths[:1]], rng=recipe.seed)
    train(tagger, (X, truths), per_word, lambda: score(tagger, *dev)[0], recipe, path)
    tagger = build(**sizes).from_disk(path)
    print(f"saved {path}, {path.stat().st_size / 1e6:.1f} MB, and loaded it again")
    accuracy, speed = score(tagger, *test)
    plain = [(words, list(map(answer, labels))) for words, labels in corpus.train]
    baseline = accuracy_of(most_frequent(plain, [words for words, _ in corpus.test]), test[1])
    print(f"test accuracy {accuracy:.2%}, {speed:,.0f} words/s", end="; ")
    print(f"the most frequent label of each word: {baseline:.2%}", flush=True)
    return tagger


def colour(tagger: Tagger, source: str) -> str:
    """Returns source, valid or not, with each word in the colour of its role."""
    lines = [[token.text for token in line] for line in python_source.scan(source)]
    return python_source.paint(source, predict(tagger, encode(lines)))


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="learn from less data")
    parser.add_argument("--file", type=Path, help="Python source to colour, valid or not")
    parser.add_argument("--train", type=Path, help="CoNLL-U file to train on")
    parser.add_argument("--dev", type=Path, help="CoNLL-U file to choose the best model")
    parser.add_argument("--test", type=Path, help="CoNLL-U file to report on")
    parser.add_argument("--model", type=Path, help="file of the model")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    args = parser.parse_args()
    treebank = [args.train, args.dev, args.test]
    if any(treebank) and not all(treebank):
        parser.error("expected --train, --dev and --test together")
    model = args.model or Path("models", "upos.combinet" if args.train else "roles.combinet")

    def work() -> None:
        if args.train:
            recipe = Recipe(HIDDEN, epochs=2 if args.quick else 8, seed=args.seed)
            learn(Corpus(*map(read_conllu, treebank)), TREEBANK_SIZES, recipe, model)
            return
        source = args.file.read_text(encoding="utf8") if args.file else python_source.FRAGMENT
        corpus = python_corpus(150_000 if args.quick else 700_000)
        recipe = Recipe(HIDDEN, epochs=2, drop=0.1, seed=args.seed)
        tagger = learn(corpus, PYTHON_SIZES, recipe, model)
        print(python_source.legend(), colour(tagger, source), sep="\n\n")

    return exit_status(work, model)


if __name__ == "__main__":
    sys.exit(main())

"""Training and using a tagger: batches, epochs, the best model on disk, accuracy."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet import Adam, Model, SequenceCategoricalCrossentropy, warmup_linear

Sentence: TypeAlias = tuple[list[str], list[str]]  # words, labels
Keys: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"  # hashed features, (words, columns)
Tagger: TypeAlias = Model[list[Keys], list[Any]]

Hidden: TypeAlias = tuple[Sequence[int], float]  # columns of keys hidden together, how often


class Recipe(NamedTuple):
    """How a tagger is trained: which keys are hidden from it, for how long, how fast."""

    hidden: Sequence[Hidden]
    epochs: int = 10
    learn_rate: float = 0.002
    drop: float = 0.3
    batch: tuple[int, int] = (500, 1500)  # words in the first batch, and from halfway on
    seed: int = 0


def train(
    tagger: Tagger,
    data: tuple[list[Keys], list[list[str]]],
    dev: tuple[list[Keys], list[list[str]]],
    recipe: Recipe,
    path: Path,
) -> None:
    """Train on `data`, (keys, labels) of sentences; keep the best model by `dev` at `path`.

    Each epoch ends with the running averages of the weights scored on `dev`; the model saved has
    the averages for its weights. Labels and known keys go with the model, as its attrs.
    """
    X, labels = data
    rng = np.random.default_rng(recipe.seed)
    tagger.attrs["labels"] = sorted({label for line in labels for label in line})
    tagger.attrs["known"] = _known(X, recipe.hidden)
    X = _forget(X, tagger.attrs["known"])
    number = {label: i for i, label in enumerate(tagger.attrs["labels"])}
    truths = [np.array([number[label] for label in line]) for line in labels]
    tagger.initialize(X[:1], [np.eye(len(number))[truth] for truth in truths[:1]], rng=rng)
    plan = [_batches(X, epoch, recipe, rng) for epoch in range(recipe.epochs)]
    steps = sum(map(len, plan))
    sgd = Adam(warmup_linear(recipe.learn_rate, steps // 20, steps), L2=0.01)
    loss = SequenceCategoricalCrossentropy(normalize=False)
    best = -1.0
    for epoch, batches in enumerate(plan, 1):
        total, words, start, line = 0.0, 0, time.perf_counter(), ""
        for done, batch in enumerate(batches, 1):
            hidden = [_hide(X[i], recipe.hidden, rng) for i in batch]
            Y, backprop = tagger.begin_update(hidden, drop=recipe.drop)
            size = sum(map(len, Y))
            dY, value = loss(Y, [truths[i] for i in batch])
            backprop([dy / size for dy in dY], sgd)
            total, words = total + float(value), words + size
            line = (
                f"epoch {epoch}/{len(plan)}  {words / (time.perf_counter() - start):7,.0f} words/s"
            )
            line += f"  loss {total / words:.3f}"
            progress(f"{line}  {done / len(batches):4.0%}")
        with tagger.use_params(sgd.averages):
            accuracy, _ = score(tagger, *dev)
            better = accuracy > best
            if better:
                best = accuracy
                tagger.to_disk(path, averages=False)
        progress(f"{line}  dev {accuracy:.2%}{'  saved' if better else ''}", end="\n")


def _batches(
    X: list[Keys], epoch: int, recipe: Recipe, rng: np.random.Generator
) -> list[list[int]]:
    """Sentences in random order, in batches of so many words, more of them as training goes on."""
    first, last = recipe.batch
    size = first + (last - first) * min(1.0, 2 * epoch / recipe.epochs)
    batches: list[list[int]] = [[]]
    words = 0
    for i in rng.permutation(len(X)).tolist():
        if words > size:
            batches.append([])
            words = 0
        batches[-1].append(i)
        words += len(X[i])
    return batches


def _known(X: list[Keys], hidden: Sequence[Hidden]) -> list[Any]:
    """For each column the keys that came at least twice, sorted; none for what is never hidden."""
    rows = np.concatenate(X)
    known = [rows[:0, 0]] * rows.shape[1]
    for column in (column for columns, _ in hidden for column in columns):
        keys, counts = np.unique(rows[:, column], return_counts=True)
        known[column] = keys[counts > 1]
    return known


def _forget(X: list[Keys], known: list[Any]) -> list[Keys]:
    """Copies with 0 for keys that are not known, which are as good as hidden."""
    rows = np.concatenate([*X])
    for column, keys in enumerate(known):
        if len(keys):
            place = np.searchsorted(keys, rows[:, column]).clip(max=len(keys) - 1)
            rows[:, column] *= keys[place] == rows[:, column]
    return np.split(rows, np.cumsum([len(keys) for keys in X])[:-1])


def _hide(X: Keys, hidden: Sequence[Hidden], rng: np.random.Generator) -> Keys:
    """A copy with keys set to 0 at random, to learn from what is left."""
    shown: Keys = X.copy()
    for columns, rate in hidden:
        shown[np.ix_(np.flatnonzero(rng.random(len(X)) < rate), np.array(columns))] = 0
    return shown


def progress(line: str, end: str = "") -> None:
    """Show a line: on a terminal over the one before it, elsewhere only if it has an end."""
    if end or sys.stdout.isatty():
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, end=end, flush=True)


def predict(tagger: Tagger, X: list[Keys]) -> list[list[str]]:
    """The label of each word, without its refinement: the one with most probability in all."""
    labels = [label.partition("|")[0] for label in tagger.attrs["labels"]]
    answers = sorted(set(labels))
    refines = np.array([[label == answer for answer in answers] for label in labels], dtype="f")
    found: list[list[str]] = []
    for start in range(0, len(X), 64):
        for Y in tagger.predict(_forget(X[start : start + 64], tagger.attrs["known"])):
            found.append([answers[i] for i in (Y @ refines).argmax(axis=1)])
    return found


def score(tagger: Tagger, X: list[Keys], labels: list[list[str]]) -> tuple[float, float]:
    """Accuracy, from 0 to 1, and words tagged in a second."""
    start = time.perf_counter()
    found = predict(tagger, X)
    seconds = time.perf_counter() - start
    right = [
        answer == label.partition("|")[0]
        for line, truth in zip(found, labels, strict=True)
        for answer, label in zip(line, truth, strict=True)
    ]
    return sum(right) / len(right), len(right) / seconds


def most_frequent(data: list[Sentence], test: list[Sentence]) -> float:
    """The accuracy on `test` of each word's most frequent label in `data`, the baseline."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, labels in data:
        for word, label in zip(words, labels, strict=True):
            counts[word][label.partition("|")[0]] += 1
    overall = sum(counts.values(), Counter[str]()).most_common(1)[0][0]
    best = {word: count.most_common(1)[0][0] for word, count in counts.items()}
    right = [
        best.get(word, overall) == label.partition("|")[0]
        for words, labels in test
        for word, label in zip(words, labels, strict=True)
    ]
    return sum(right) / len(right)

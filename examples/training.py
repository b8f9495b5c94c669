"""Training of models that read words: batches of words, hidden keys, known keys."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet import (
    Adam,
    DimensionError,
    FormatError,
    Model,
    SequenceCategoricalCrossentropy,
    warmup_linear,
)
from fitting import Batch, Loss, Plan, fit
from lines import MalformedLine
from words import Keys

Hidden: TypeAlias = tuple[Sequence[int], float]  # columns that are hidden together, and how often


class Recipe(NamedTuple):
    """The settings of training."""

    hidden: Sequence[Hidden]  # keys that are hidden from the model at random
    epochs: int = 10
    learn_rate: float = 0.002
    drop: float = 0.3
    blanked: float = 0.0  # how often all keys of a word are hidden
    batch: tuple[int, int] = (500, 1500)  # words per batch at the start, and from halfway on
    seed: int = 0


def train(
    model: Model[Any, Any],
    data: tuple[list[Keys], list[Any]],
    loss: Loss,
    score: Callable[[], float],
    recipe: Recipe,
    path: Path,
) -> None:
    """Trains an initialized model on `data`, (keys, truths) of sentences; saves the best at `path`.

    `loss` returns means over the batch. Each epoch ends with `score()`, which uses the running
    averages of the weights; the saved model has these averages as its weights. The known keys are
    saved in the model's attrs. All random choices come from the model's generator.
    """
    X, truths = data
    rng = model.rng
    model.attrs["known"] = _known(X, recipe.hidden)
    X = _forget(X, model.attrs["known"])
    plan = [_batches(X, epoch, recipe, rng) for epoch in range(recipe.epochs)]
    steps = sum(map(len, plan))
    sgd = Adam(warmup_linear(recipe.learn_rate, steps // 20, steps), L2=0.01)

    def epoch(number: int) -> Iterator[Batch]:
        for batch in plan[number]:
            hidden = [_hide(X[i], recipe, rng) for i in batch]
            yield Batch(hidden, [truths[i] for i in batch], sum(map(len, hidden)))

    words = Plan(recipe.epochs, sum(map(len, X)), "words", "dev {:.2%}")
    fit(model, epoch, loss, sgd, score, words, recipe.drop, path)


def per_word(Y: list[Any], truths: list[Any]) -> tuple[list[Any], Any]:
    """Returns the gradient of the loss and its value, as a mean over words."""
    dY, value = SequenceCategoricalCrossentropy(normalize=False)(Y, truths)
    words = sum(map(len, Y))
    return [dy / words for dy in dY], value / words


def outputs(model: Model[Any, Any], X: list[Keys]) -> Iterator[Any]:
    """Yields a trained model's output for each sentence."""
    for start in range(0, len(X), 64):
        yield from model.predict(_forget(X[start : start + 64], model.attrs["known"]))


def most_frequent(
    data: Iterable[tuple[Sequence[str], Sequence[str]]], docs: Iterable[Sequence[str]]
) -> list[list[str]]:
    """A baseline: each word's most frequent label in `data`, (words, labels) of sentences."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, labels in data:
        for word, label in zip(words, labels, strict=True):
            counts[word][label] += 1
    overall = sum(counts.values(), Counter[str]()).most_common(1)[0][0]
    best = {word: count.most_common(1)[0][0] for word, count in counts.items()}
    return [[best.get(word, overall) for word in doc] for doc in docs]


def exit_status(work: Callable[[], None], model: Path) -> int:
    """Runs `work` and returns the exit status. Prints errors in its files in one line."""
    try:
        work()
    except KeyboardInterrupt:
        kept = f"the best model so far is {model}" if model.exists() else "no model is saved yet"
        print(f"\ninterrupted: {kept}", file=sys.stderr)
        return 130
    except (MalformedLine, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except (FormatError, DimensionError) as error:
        print(f"{model}: {error}", file=sys.stderr)
        return 1
    return 0


def _batches(
    X: list[Keys], epoch: int, recipe: Recipe, rng: np.random.Generator
) -> list[list[int]]:
    """Batches of sentences in random order. The number of words per batch grows over the epochs."""
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
    """The sorted keys that occur at least twice, by column; empty for columns never hidden."""
    rows = np.concatenate(X)
    known = [rows[:0, 0]] * rows.shape[1]
    for column in (column for columns, _ in hidden for column in columns):
        keys, counts = np.unique(rows[:, column], return_counts=True)
        known[column] = keys[counts > 1]
    return known


def _forget(X: list[Keys], known: list[Any]) -> list[Keys]:
    """Copies with 0 instead of unknown keys, so that the model treats them as hidden."""
    rows = np.concatenate([*X])
    for column, keys in enumerate(known):
        if len(keys):
            place = np.searchsorted(keys, rows[:, column]).clip(max=len(keys) - 1)
            rows[:, column] *= keys[place] == rows[:, column]
    return np.split(rows, np.cumsum([len(keys) for keys in X])[:-1])


def _hide(X: Keys, recipe: Recipe, rng: np.random.Generator) -> Keys:
    """A copy with keys set to 0 at random, so that the model learns from the other keys."""
    shown: Keys = X.copy()
    for columns, rate in recipe.hidden:
        shown[np.ix_(np.flatnonzero(rng.random(len(X)) < rate), np.array(columns))] = 0
    if recipe.blanked:
        shown[rng.random(len(X)) < recipe.blanked] = 0
    return shown

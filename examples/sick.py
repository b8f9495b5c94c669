"""Learn how related two sentences are, from 1 to 5: the SICK data of SemEval 2014.

    python examples/sick.py --data DIR --vectors DIR           learn, report on the test part
    python examples/sick.py --data DIR --vectors DIR --quick   learn for fewer epochs
    python examples/sick.py --vectors DIR --compare "A dog runs." "A cat sleeps."
                                                               rate your own sentences

The DIR of --data contains train.tsv, dev.tsv and test.tsv, or each as .tsv.gz. The DIR of --vectors
contains words.txt.gz, with one word per line, and vectors.npy, with one row per word, for example
from GloVe. The model with the best dev score so far is always on disk; Ctrl-C keeps it.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from combinet import (
    Adam,
    CategoricalCrossentropy,
    list2ragged,
    minibatch,
    reduce_mean,
    warmup_linear,
    with_array,
)
from combinet.types import Floats1d, Floats2d
from fitting import Batch, Plan, batches, fit
from relatedness import SCORES, Rater, Sides, build
from sentence_pairs import (
    JUDGMENTS,
    Pair,
    encode,
    part,
    pearson,
    read_pairs,
    words_of,
)
from training import exit_status
from vectors import Vectors, look_up, read_vectors

EPOCHS, QUICK_EPOCHS = 15, 4
BATCH, LEARN_RATE, DROP = 25, 0.003, 0.2
JUDGMENT_WEIGHT = 0.5  # in the loss; the scores have weight 1
PUBLISHED = """\
    0.76  a convolutional network (KeraSTS), published
    0.88  MaLSTM (Mueller and Thyagarajan 2016), published: other vectors, more data"""
EXAMPLES = [
    ("A man is playing a guitar.", "A guitar is being played by a man."),
    ("A man is playing a guitar.", "A person is making music."),
    ("A man is playing a guitar.", "There is no man playing a guitar."),
    ("A man is playing a guitar.", "Two dogs are running on the beach."),
]


# -- training and use --------------------------------------------------------------------------


def sides(pairs: list[Pair]) -> Sides:
    """Returns the hashed features of the sentences."""
    return encode([pair.first for pair in pairs]), encode([pair.second for pair in pairs])


def targets(pairs: list[Pair]) -> Floats2d:
    """Returns the model's targets: for a score of 3.6, 0.4 at 3 and 0.6 at 4; 1 at the judgment.

    The mean of the first distribution is the score: Tai et al. 2015, section 4.2.
    """
    scores = np.array([[pair.score] for pair in pairs])
    judgments = np.array([[pair.judgment] for pair in pairs])
    near = np.maximum(0, 1 - abs(scores - SCORES))
    return np.hstack([near, JUDGMENT_WEIGHT * (judgments == JUDGMENTS)]).astype("float32")


def train(
    rater: Rater, data: list[Pair], dev: list[Pair], epochs: int, seed: int, path: Path
) -> None:
    """Trains on `data`. Saves the averages of the weights with the best `dev` score at `path`."""
    rng = np.random.default_rng(seed)
    first, second = sides(data)
    truths = targets(data)
    rater.initialize((first[:1], second[:1]), rng=rng)
    steps = -(-len(data) // BATCH)
    schedule = warmup_linear(LEARN_RATE, epochs * steps // 20, epochs * steps)
    sgd = Adam(schedule, average_decay=0.999)

    def epoch(number: int) -> Iterator[Batch]:
        return batches(BATCH, [first, second], truths, rng)

    def score() -> float:
        return evaluate(rater, dev)[0]

    plan = Plan(epochs, len(data), "pairs", "dev r {:.4f}")
    fit(rater, epoch, CategoricalCrossentropy(), sgd, score, plan, DROP, path)


def rate(rater: Rater, pairs: Sides) -> tuple[Floats1d, list[str]]:
    """Returns each pair's score, the mean of its distribution, and its most probable judgment."""
    Y = np.concatenate([rater.predict(batch) for batch in minibatch(64, *pairs)])
    best = Y[:, len(SCORES) :].argmax(axis=1)
    return Y[:, : len(SCORES)] @ SCORES, [JUDGMENTS[i] for i in best.tolist()]


def evaluate(rater: Rater, pairs: list[Pair]) -> tuple[float, float]:
    """Returns Pearson's r of the scores, and the share of judgments that are right."""
    scores, judgments = rate(rater, sides(pairs))
    right = [found == pair.judgment for found, pair in zip(judgments, pairs, strict=True)]
    return pearson(scores, np.array([pair.score for pair in pairs])), sum(right) / len(right)


def averaged_cosine(vectors: Vectors, pairs: list[Pair]) -> float:
    """Returns the baseline: Pearson's r of the cosine between the sentences' averaged vectors."""
    average = list2ragged() >> with_array(look_up(vectors)) >> reduce_mean()
    A, B = (average.predict(side) for side in sides(pairs))
    lengths = np.sqrt((A * A).sum(axis=1) * (B * B).sum(axis=1))
    cosines = (A * B).sum(axis=1) / np.maximum(lengths, 1e-12)
    return pearson(cosines, np.array([pair.score for pair in pairs]))


# -- the command line --------------------------------------------------------------------------


def learn(folder: Path, vectors: Vectors, epochs: int, seed: int, path: Path) -> Rater:
    """Trains, reports on the test part, and returns the model loaded from disk."""
    data, dev, test = (read_pairs(part(folder, name)) for name in ("train", "dev", "test"))
    print(f"pairs: {len(data):,} to train, {len(dev):,} dev, {len(test):,} test", flush=True)
    train(build(vectors), data, dev, epochs, seed, path)
    rater = build(vectors).from_disk(path)
    print(f"saved {path}, {path.stat().st_size / 1e6:.1f} MB, and loaded it again")
    start = time.perf_counter()
    r, accuracy = evaluate(rater, test)
    speed = len(test) / (time.perf_counter() - start)
    print(f"test: Pearson's r {r:.4f}, judgments {accuracy:.1%}, {speed:,.0f} pairs/s; baselines:")
    print(f"    {averaged_cosine(vectors, test):.2f}  cosine of averaged vectors, here")
    print(PUBLISHED, flush=True)
    return rater


def compare(rater: Rater, pairs: list[tuple[str, str]]) -> None:
    """Rates pairs of sentences and prints them."""
    first, second = ([words_of(sentence) for sentence in side] for side in zip(*pairs, strict=True))
    scores, judgments = rate(rater, (encode(first), encode(second)))
    for score, judgment, (A, B) in zip(scores, judgments, pairs, strict=True):
        print(f"{score:.1f}  {judgment.lower():13}  {A}  |  {B}")


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of train.tsv, dev.tsv, test.tsv")
    parser.add_argument("--vectors", type=Path, help="folder of words.txt.gz, vectors.npy")
    parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    parser.add_argument("--model", type=Path, default=Path("models", "sick.combinet"))
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two sentences to rate")
    args = parser.parse_args()
    if not args.vectors or not (args.data or args.compare):
        parser.error("expected --data and --vectors to train, or --vectors and --compare A B")
    if args.compare and not all(map(words_of, args.compare)):
        parser.error("expected two sentences with words for --compare")

    def work() -> None:
        vectors = read_vectors(args.vectors)
        if args.data:
            epochs = QUICK_EPOCHS if args.quick else EPOCHS
            rater = learn(args.data, vectors, epochs, args.seed, args.model)
        else:
            rater = build(vectors).from_disk(args.model)
        compare(rater, [tuple(args.compare)] if args.compare else EXAMPLES)

    return exit_status(work, args.model)


if __name__ == "__main__":
    sys.exit(main())

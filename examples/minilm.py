"""How alike sentences are, by all-MiniLM-L6-v2; and fine-tuning it on pairs that people rated.

    python examples/minilm.py --weights FOLDER --compare "A dog runs." "A cat sleeps."
                                                rate two sentences, from -1 to 1
    python examples/minilm.py --weights FOLDER --data DIR
                                                report on a test part, as it comes
    python examples/minilm.py --weights FOLDER --data DIR --learn
                                                fine-tune first, and keep it in models/
    python examples/minilm.py --weights FOLDER --model models/minilm.combinet --compare A B
                                                rate by what has been learned

FOLDER holds the pretrained model.safetensors and tokenizer.json. DIR has train.tsv, dev.tsv and
test.tsv, or each as .tsv.gz, in the form of SICK. The best model so far, by the dev part, is always
on disk; Ctrl-C keeps it.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tokenizers import Tokenizer

from combinet import L2Distance, Model, Run, minibatch, siamese
from combinet.types import Floats1d, Floats2d, Ints1d
from fine_tuning import fine_tune
from sentence_encoder import Encoder, encode, pooled, read_bert, read_tokenizer
from sentence_pairs import Pair, part, pearson, read_pairs, sentences
from training import exit_status

EPOCHS = 3
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


def _product_widths(model: Any, nI: Any, nO: Any, infer: Any) -> Any:
    return nI, infer.same(model, 1, nO)


# -- training and use --------------------------------------------------------------------------


def sides(tokenizer: Tokenizer, pairs: list[Pair]) -> Sides:
    """The sentences as the model takes them."""
    first, second = sentences(pairs)
    return encode(tokenizer, first), encode(tokenizer, second)


def learn(
    encoder: Encoder, tokenizer: Tokenizer, folder: Path, epochs: int, seed: int, path: Path
) -> None:
    """Fine-tune on the train part; keep the best encoder by the dev part at `path`.

    The cosine should be what people said, 1 to 5, as 0 to 1.
    """
    data, dev = (read_pairs(part(folder, name)) for name in ("train", "dev"))
    print(f"pairs: {len(data):,} to train, {len(dev):,} dev", flush=True)
    model, loss = rater(encoder), L2Distance()
    truths = np.array([[(pair.score - 1) / 4] for pair in data], "float32")

    def score() -> float:
        return evaluate(model, tokenizer, dev)

    inputs = sides(tokenizer, data)
    fine_tune(model, inputs, truths, loss, score, epochs, seed, encoder, path)


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
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder of model.safetensors, tokenizer.json"
    )
    parser.add_argument("--data", type=Path, help="folder of train.tsv, dev.tsv, test.tsv")
    parser.add_argument("--learn", action="store_true", help="fine-tune on the data")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="how long to fine-tune")
    parser.add_argument("--seed", type=int, default=0, help="of order and dropout")
    parser.add_argument("--model", type=Path, help="where what is learned is, or will be")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two sentences to rate")
    args = parser.parse_args()
    if not (args.data or args.compare) or (args.learn and not args.data):
        parser.error("give --data to report, --data and --learn to learn, --compare to rate a pair")
    path = args.model or MODEL

    def work() -> None:
        tokenizer, encoder = read_tokenizer(args.weights), pooled(read_bert(args.weights))
        what = "as it comes"
        if args.learn:
            report(encoder, tokenizer, args.data, what)
            learn(encoder, tokenizer, args.data, args.epochs, args.seed, path)
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

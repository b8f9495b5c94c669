"""Rate the similarity of sentences with all-MiniLM-L6-v2, and fine-tune it on rated pairs.

    python examples/minilm.py --weights FOLDER --compare "A dog runs." "A cat sleeps."
                                                rate two sentences, from -1 to 1
    python examples/minilm.py --weights FOLDER --data DIR
                                                report on the test part, without fine-tuning
    python examples/minilm.py --weights FOLDER --data DIR --learn
                                                fine-tune, save in models/, then report
    python examples/minilm.py --weights FOLDER --model models/minilm.combinet --compare A B
                                                rate with the fine-tuned model

FOLDER contains the pretrained model.safetensors and tokenizer.json. DIR contains train.tsv, dev.tsv
and test.tsv, or each as .tsv.gz, in the format of SICK. The model with the best score on the dev
part so far is always on disk; Ctrl-C keeps it.
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

Sides: TypeAlias = tuple[list[Ints1d], list[Ints1d]]  # first and second sentences of pairs
Rater: TypeAlias = Model[Sides, Floats2d]


def rater(encoder: Encoder) -> Rater:
    """Returns a model of the cosine between the vectors of two sentences: Y (pairs, 1)."""
    return siamese(encoder, product())


def product() -> Model[tuple[Floats2d, Floats2d], Floats2d]:
    """A custom layer: the scalar product of two rows, which is the cosine if their length is 1.

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
    """Returns the ids of the sentences."""
    first, second = sentences(pairs)
    return encode(tokenizer, first), encode(tokenizer, second)


def learn(
    encoder: Encoder, tokenizer: Tokenizer, folder: Path, epochs: int, seed: int, path: Path
) -> None:
    """Fine-tunes on the train part and saves the encoder with the best dev score at `path`.

    The target of the cosine is the human score, scaled from [1, 5] to [0, 1].
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
    """Returns the cosine of each pair."""
    return np.concatenate([model.predict(batch)[:, 0] for batch in minibatch(64, *X)])


def evaluate(model: Rater, tokenizer: Tokenizer, pairs: list[Pair]) -> float:
    """Returns Pearson's r between the cosines and the human scores."""
    return pearson(rate(model, sides(tokenizer, pairs)), np.array([pair.score for pair in pairs]))


# -- the command line --------------------------------------------------------------------------


def report(encoder: Encoder, tokenizer: Tokenizer, folder: Path, what: str) -> None:
    """Prints r on the test part."""
    test = read_pairs(part(folder, "test"))
    start = time.perf_counter()
    r = evaluate(rater(encoder), tokenizer, test)
    speed = len(test) / (time.perf_counter() - start)
    print(f"test, {what}: Pearson's r {r:.4f}, {speed:,.0f} pairs/s", flush=True)


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder of model.safetensors, tokenizer.json"
    )
    parser.add_argument("--data", type=Path, help="folder of train.tsv, dev.tsv, test.tsv")
    parser.add_argument("--learn", action="store_true", help="fine-tune on the data")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of fine-tuning")
    parser.add_argument("--seed", type=int, default=0, help="seed of order and dropout")
    parser.add_argument("--model", type=Path, help="file of the fine-tuned model")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two sentences to rate")
    args = parser.parse_args()
    if not (args.data or args.compare) or (args.learn and not args.data):
        parser.error("expected --data to report, --data --learn to fine-tune, or --compare A B")
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

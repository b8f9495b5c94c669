"""Learn what people want of a voice assistant (SNIPS) by fine-tuning all-MiniLM-L6-v2.

    python examples/minilm_intents.py --weights FOLDER --data DIR
                                                learn, report on the test file
    python examples/minilm_intents.py --weights FOLDER --ask "play some jazz by miles davis"
                                                ask the model that has been learned

FOLDER holds the pretrained model.safetensors and tokenizer.json. DIR holds train.tsv.gz,
valid.tsv.gz and test.tsv.gz; see snips.py. The best model so far, by the valid file, is always on
disk; Ctrl-C keeps it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tokenizers import Tokenizer

import snips
from combinet import CategoricalCrossentropy, Dropout, Model, Softmax, minibatch, reduce_mean
from combinet.types import Floats2d, Ints1d
from fine_tuning import fine_tune
from intents import OTHERS
from sentence_encoder import Bert, bert, encode, read_bert, read_tokenizer
from training import exit_status

EPOCHS = 2
MODEL = Path("models", "minilm-intents.combinet")

Classifier: TypeAlias = Model[list[Ints1d], Floats2d]


def classifier(layer: Bert) -> Classifier:
    """The probabilities of the intents, from the mean of the pieces' vectors."""
    model = layer >> reduce_mean() >> Dropout() >> Softmax()
    model.attrs["labels"] = []
    return model


def ids_of(tokenizer: Tokenizer, requests: list[snips.Request]) -> list[Ints1d]:
    """The requests as the model takes them."""
    return encode(tokenizer, [" ".join(request.words) for request in requests])


def intents(model: Classifier, X: list[Ints1d]) -> list[str]:
    """The likeliest intent of each."""
    labels = model.attrs["labels"]
    return [labels[i] for batch in minibatch(64, X) for i in model.predict(batch).argmax(axis=1)]


def accuracy(model: Classifier, X: list[Ints1d], requests: list[snips.Request]) -> float:
    """The share of requests whose intent is found."""
    found = zip(intents(model, X), requests, strict=True)
    return sum(intent == request.intent for intent, request in found) / len(requests)


def learn(folder: Path, weights: Path, epochs: int, seed: int, path: Path) -> None:
    """Fine-tune, and report on the test part with the model loaded from disk."""
    corpus = snips.read_corpus(folder)
    print("requests: {:,} to train, {:,} valid, {:,} test".format(*map(len, corpus)), flush=True)
    tokenizer, model = read_tokenizer(weights), classifier(read_bert(weights))
    X, valid, test = (ids_of(tokenizer, requests) for requests in corpus)
    labels = model.attrs["labels"] = sorted({request.intent for request in corpus.train})
    truths = np.array([labels.index(request.intent) for request in corpus.train])
    model.initialize(X[:1], np.ones((1, len(labels))), rng=seed)

    def score() -> float:
        return accuracy(model, valid, corpus.valid)

    fine_tune(model, [X], truths, CategoricalCrossentropy(), score, epochs, seed, model, path)
    model = classifier(bert()).from_disk(path)
    snips.report("accuracy", accuracy(model, test, corpus.test), OTHERS)


def main() -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder of model.safetensors, tokenizer.json"
    )
    parser.add_argument("--data", type=Path, help="folder of the files to learn from")
    parser.add_argument("--ask", action="append", help="a sentence to answer; again for more")
    parser.add_argument("--model", type=Path, default=MODEL, help="the model's file")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="how long to fine-tune")
    parser.add_argument("--seed", type=int, default=0, help="of first weights, order and dropout")
    args = parser.parse_args()
    if not args.data and not args.ask:
        parser.error("--data to learn from, or --ask for what has been learned")

    def work() -> None:
        if args.data:
            learn(args.data, args.weights, args.epochs, args.seed, args.model)
        model: Any = classifier(bert()).from_disk(args.model)
        questions = args.ask or list(snips.QUESTIONS)
        for question, intent in zip(
            questions, intents(model, encode(read_tokenizer(args.weights), questions)), strict=True
        ):
            print(f"{question}: {intent}")

    return exit_status(work, args.model)


if __name__ == "__main__":
    sys.exit(main())

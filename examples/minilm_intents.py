"""Learn the intent of requests to a voice assistant (SNIPS) by fine-tuning all-MiniLM-L6-v2.

    python examples/minilm_intents.py --weights FOLDER --data DIR
                                                learn, report on the test file
    python examples/minilm_intents.py --weights FOLDER --ask "play some jazz by miles davis"
                                                ask the trained model

FOLDER contains the pretrained model.safetensors and tokenizer.json. DIR contains train.tsv.gz,
valid.tsv.gz and test.tsv.gz; see snips.py. The model with the best score on the valid file so far
is always on disk; Ctrl-C keeps it.
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
    """Returns a model of the intents' probabilities, from the mean of the pieces' vectors."""
    model = layer >> reduce_mean() >> Dropout() >> Softmax()
    model.attrs["labels"] = []
    return model


def ids_of(tokenizer: Tokenizer, requests: list[snips.Request]) -> list[Ints1d]:
    """Returns the ids of the requests."""
    return encode(tokenizer, [" ".join(request.words) for request in requests])


def intents(model: Classifier, X: list[Ints1d]) -> list[str]:
    """Returns the most probable intent of each request."""
    labels = model.attrs["labels"]
    return [labels[i] for batch in minibatch(64, X) for i in model.predict(batch).argmax(axis=1)]


def accuracy(model: Classifier, X: list[Ints1d], requests: list[snips.Request]) -> float:
    """Returns the share of requests with the right intent."""
    found = zip(intents(model, X), requests, strict=True)
    return sum(intent == request.intent for intent, request in found) / len(requests)


def learn(folder: Path, weights: Path, epochs: int, seed: int, path: Path) -> None:
    """Fine-tunes, loads the model from disk, and reports on the test part."""
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
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder of model.safetensors, tokenizer.json"
    )
    parser.add_argument("--data", type=Path, help="folder of the training files")
    parser.add_argument("--ask", action="append", help="a sentence to answer; may be repeated")
    parser.add_argument("--model", type=Path, default=MODEL, help="the model's file")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of fine-tuning")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    args = parser.parse_args()
    if not args.data and not args.ask:
        parser.error("expected --data to train, or --ask to ask a trained model")

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

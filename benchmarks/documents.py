"""Compares a hierarchical attention network with the same network in PyTorch, which pads.

    python benchmarks/documents.py [--rounds N] [--seconds S]

Documents are lists of sentences of word ids. Words are embedded, a bidirectional LSTM reads each
sentence, attention reduces it to one row, and the same follows for the sentences of each document.
combinet keeps only real words, as Ragged of Ragged. PyTorch gets padded ids, packs the sequences
for its LSTM and masks the padding in attention, as its users do. Both have the same weights: the
script checks that the losses agree after ten updates. Each library runs in its own process, in
turn, on one thread. A time is the least of the rounds' tenth percentiles.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import measure

WORDS, WIDTH, CLASSES, DOCUMENTS = 5000, 64, 5, 32


def documents() -> tuple[list[list[Any]], Any]:
    """Returns documents of 1 to 40 sentences of 1 to 60 words, mostly short, and their classes."""
    rng = np.random.default_rng(0)

    def lengths(mean: float, longest: int, n: int) -> Any:
        return np.clip(rng.lognormal(np.log(mean), 0.7, n).astype(int), 1, longest)

    docs = [
        [rng.integers(0, WORDS, n) for n in lengths(13, 60, count)]
        for count in lengths(8, 40, DOCUMENTS)
    ]
    return docs, rng.integers(0, CLASSES, DOCUMENTS)


def ours() -> Any:
    """Returns combinet's model, initialized."""
    from combinet import (
        LSTM,
        Embed,
        Linear,
        ParametricAttention,
        Softmax,
        elementwise,
        list2ragged,
        reduce_sum,
        with_flatten,
    )

    def encode() -> Any:
        keys = Linear(WIDTH) >> elementwise(np.tanh, name="tanh")
        attend = ParametricAttention(key_transform=keys) >> reduce_sum()
        return LSTM(WIDTH, bi=True) >> attend

    words = with_flatten(Embed(WIDTH, WORDS)) >> list2ragged()
    docs, _ = documents()
    return (words >> encode() >> encode() >> Softmax(CLASSES)).initialize(docs, rng=0)


def theirs(model: Any) -> Any:
    """Returns the same network in PyTorch, with the weights of combinet's.

    The second bias of PyTorch's LSTM stays 0, because combinet's LSTM has one.
    """
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Encoder(nn.Module):
        """Reads padded sequences (n, longest, WIDTH) and returns a row for each."""

        def __init__(self, lstm: Any, attention: Any) -> None:
            super().__init__()
            self.lstm = nn.LSTM(WIDTH, WIDTH // 2, bidirectional=True, batch_first=True)
            self.keys, self.query = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1, bias=False)
            with torch.no_grad():
                for suffix, layer in zip(("", "_reverse"), lstm, strict=True):
                    values = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}
                    for name, param in values.items():
                        value = np.moveaxis(layer.get_param(param), 1, 0)  # by gate
                        target = getattr(self.lstm, f"{name}_l0{suffix}")
                        target.copy_(torch.tensor(value.reshape(target.shape)))
                    getattr(self.lstm, f"bias_hh_l0{suffix}").zero_().requires_grad_(False)
                keys = attention.layers[0][0]
                self.keys.weight.copy_(torch.tensor(keys.get_param("W")))
                self.keys.bias.copy_(torch.tensor(keys.get_param("b")))
                self.query.weight[0].copy_(torch.tensor(attention.get_param("Q")))

        def forward(self, X: Any, lengths: Any, mask: Any) -> Any:
            packed = pack_padded_sequence(X, lengths, batch_first=True, enforce_sorted=False)
            H, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
            scores = self.query(torch.tanh(self.keys(H)))[..., 0].masked_fill(~mask, -torch.inf)
            return (torch.softmax(scores, 1)[..., None] * H).sum(1)

    class Network(nn.Module):
        """Words to sentences to documents to scores of classes."""

        def __init__(self) -> None:
            super().__init__()
            table = torch.tensor(model["embed"].get_param("E"))
            self.embed = nn.Embedding.from_pretrained(table, freeze=False)  # type: ignore[no-untyped-call]
            lstms = [layer for layer in model if layer.name == "bidirectional"]
            attentions = [layer for layer in model if layer.name == "parametric_attention"]
            encoders = zip(lstms, attentions, strict=True)
            self.words, self.sentences = (Encoder(*pair) for pair in encoders)
            self.out = nn.Linear(WIDTH, CLASSES)
            with torch.no_grad():
                self.out.weight.copy_(torch.tensor(model[-1].get_param("W")))
                self.out.bias.copy_(torch.tensor(model[-1].get_param("b")))

        def forward(self, ids: Any, n_words: Any, n_sentences: Any, places: Any) -> Any:
            word_mask = torch.arange(ids.shape[1]) < n_words[:, None]
            rows = self.words(self.embed(ids), n_words, word_mask)
            mask = torch.arange(int(n_sentences.max())) < n_sentences[:, None]
            padded = rows.new_zeros((*mask.shape, WIDTH)).index_put(places, rows)
            return self.out(self.sentences(padded, n_sentences, mask))

    return Network()


def padded(docs: list[list[Any]]) -> tuple[Any, ...]:
    """Returns ids (sentences, longest), both lengths, and the place of each sentence."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    sentences = [torch.from_numpy(sentence) for doc in docs for sentence in doc]
    n_sentences = torch.tensor([len(doc) for doc in docs])
    places = (
        torch.arange(len(docs)).repeat_interleave(n_sentences),
        torch.cat([torch.arange(len(doc)) for doc in docs]),
    )
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    return pad_sequence(sentences, batch_first=True), lengths, n_sentences, places


def run(library: str, seconds: float) -> list[float]:
    """Returns the loss after ten updates, and milliseconds: training, predicting, one document."""
    docs, classes = documents()
    model = ours()
    if library == "combinet":
        from combinet import Adam, CategoricalCrossentropy

        loss, sgd = CategoricalCrossentropy(), Adam(0.001, grad_clip=0, use_averages=False)

        def train(i: int) -> float:
            Y, backprop = model.begin_update(docs, wants_dX=False)
            dY, value = loss(Y, classes)
            backprop(dY, sgd)
            return float(value)

        value = [train(i) for i in range(10)][-1]
        steps = [train, lambda i: model.predict(docs), lambda i: model.predict(docs[i % 8 :][:1])]
        return [value, *measure.clock(*steps, seconds=seconds)]

    import torch

    network, targets = theirs(model), torch.from_numpy(classes)
    adam = torch.optim.Adam(network.parameters(), 0.001)

    def step(i: int) -> float:
        adam.zero_grad()
        value = torch.nn.functional.cross_entropy(network(*padded(docs)), targets)
        value.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return float(value.detach())

    def predict(batch: list[list[Any]]) -> Any:
        with torch.no_grad():
            return network(*padded(batch))

    value = [step(i) for i in range(10)][-1]
    steps = [step, lambda i: predict(docs), lambda i: predict(docs[i % 8 :][:1])]
    return [value, *measure.clock(*steps, seconds=seconds)]


def main() -> None:
    """Prints the times of both libraries and their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    docs, _ = documents()
    lengths = [len(sentence) for doc in docs for sentence in doc]
    cells = len(lengths) * max(lengths)
    print(f"{len(docs)} documents, {len(lengths)} sentences, {sum(lengths):,} words; "
          f"padded to {cells:,} words")  # fmt: skip
    times: dict[str, list[list[float]]] = {"combinet": [], "torch": []}
    for _ in range(args.rounds):
        for library, seen in times.items():
            seen.append(measure.alone(run, library, args.seconds))
    losses = [seen[0][0] for seen in times.values()]
    assert np.ptp(losses) < 1e-5, f"expected equal losses, got {losses}"
    print("loss after ten updates: " + ", ".join(f"{value:.5f}" for value in losses))
    best = {name: np.min(seen, axis=0)[1:] for name, seen in times.items()}
    for column, what in enumerate(("train", "predict", "one document")):
        a, b = best["combinet"][column], best["torch"][column]
        print(f"{what:14} combinet {a:8.2f} ms   PyTorch {b:8.2f} ms   ratio {b / a:.2f}")


if __name__ == "__main__":
    main()

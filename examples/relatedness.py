"""A siamese model of how related two sentences are and whether one entails the other.

One BiLSTM reads both sentences. Each word is compared with the words of the other sentence that
are aligned with it, and the pooled comparisons determine the output.
"""

from typing import Any, TypeAlias

import numpy as np

from combinet import (
    LSTM,
    Dropout,
    HashEmbed,
    Model,
    MultiSoftmax,
    Ragged,
    Relu,
    Run,
    list2ragged,
    noop,
    reduce_max,
    reduce_mean,
    siamese,
    with_array,
    with_padded,
)
from combinet.shapes import item
from combinet.types import Floats2d
from sentence_pairs import JUDGMENTS
from vectors import Vectors, look_up
from words import Keys

Sides: TypeAlias = tuple[list[Keys], list[Keys]]  # first and second sentences of pairs
Rater: TypeAlias = Model[Sides, Floats2d]

SCORES = np.arange(1, 6)


def build(vectors: Vectors, width: int = 128) -> Rater:
    """Returns the model. Y (pairs, 8) holds the probabilities of SCORES, then of JUDGMENTS."""
    own = [HashEmbed(16, rows, column=i, seed=i) for i, rows in enumerate((2000, 1000, 1000))]
    embed = look_up(vectors) | own[0] | own[1] | own[2]
    context = with_padded(LSTM(width, bi=True)) | noop()
    encode = list2ragged() >> with_array(embed >> Dropout()) >> context
    compare = align() >> with_array(Relu(width) >> Dropout()) >> (reduce_max() | reduce_mean())
    rate = Dropout() >> Relu(64) >> Dropout() >> MultiSoftmax([len(SCORES), len(JUDGMENTS)])
    return siamese(encode, compare >> rate)


def align() -> Model[tuple[Ragged, Ragged], Ragged]:
    """A custom layer that compares each word with the aligned words of the other sentence.

    X two Ragged (words, nI), the first and the second sentences of pairs -> Y Ragged (words,
    2 * nI). Y has a sequence for each pair and a row for each word h of both sentences: |h - g|,
    then h * g. Here g is the mean of the other sentence's words, weighted by the softmax of their
    products with h. Chen et al. 2017, arXiv:1609.06038, section 3.2; |h - g| as in Tai et al. 2015,
    arXiv:1503.00075, section 4.2.
    """
    return Model("align", _align, widths=_align_widths)


def _align(model: Model[Any, Any], X: tuple[Ragged, Ragged], run: Run) -> Any:
    ops, (first, second) = run.ops, X
    sides = [ops.split(side.data, side.lengths) for side in X]
    results = [_align_pair(U, V, run) for U, V in zip(*sides, strict=True)]
    lengths = first.lengths + second.lengths

    def backprop(dY: Ragged) -> tuple[Ragged, Ragged]:
        parts = zip(results, ops.split(dY.data, lengths), strict=True)
        dU, dV = zip(*(callback(d) for (_, callback), d in parts), strict=True)
        return (
            Ragged(ops.concatenate(list(dU)), first.lengths),
            Ragged(ops.concatenate(list(dV)), second.lengths),
        )

    return Ragged(ops.concatenate([Y for Y, _ in results]), lengths), backprop


def _align_pair(U: Floats2d, V: Floats2d, run: Run) -> Any:
    ops, n, nI = run.ops, len(U), U.shape[1]
    scores: Any = U @ V.T
    A, B = ops.softmax(scores), ops.softmax(scores.T)
    H, G = ops.concatenate([U, V]), ops.concatenate([A @ V, B @ U])
    D = H - G

    def backprop(dY: Floats2d) -> tuple[Floats2d, Floats2d]:
        dD, d_product = dY[:, :nI] * ops.xp.sign(D), dY[:, nI:]
        dH, dG = dD + d_product * G, d_product * H - dD
        dAV, dBU = dG[:n], dG[n:]
        d_scores = ops.backprop_softmax(dAV @ V.T, A) + ops.backprop_softmax(dBU @ U.T, B).T
        dU = dH[:n] + d_scores @ V + B.T @ dBU
        dV = dH[n:] + d_scores.T @ U + A.T @ dAV
        return dU, dV

    return ops.concatenate([abs(D), H * G], axis=1), backprop


def _align_widths(model: Any, nI: Any, nO: Any, infer: Any) -> Any:
    width: Any = infer.same(model, item(nI, 0), item(nI, 1))  # the width of each sentence's words
    return width, nO if width is None else infer.same(model, 2 * width, nO)

"""Test cases for every public layer and combinator: a name, a model, a sample input.

The invariants are checked for all cases. test_invariants.py fails if a constructor has no case.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import testing
from helpers.arrays import floats, ids, keys, listed, padded, ragged, ragged_of_ragged, sparse
from helpers.objects import Affine, Doubled


@dataclass
class Case:
    name: str
    make: Callable[[], Any]
    X: Any
    note: str = ""
    drop: float = 0.0
    skip: Mapping[testing.Invariant, str] = field(default_factory=dict)  # invariant: reason

    def check(self, invariant: testing.Invariant, ops: cb.Ops | None = None) -> None:
        """Checks an invariant. If it is skipped, the check must fail; so no skip is outdated."""
        if invariant in self.skip:
            with pytest.raises(AssertionError):
                invariant(self.make(), self.X, ops)
        else:
            invariant(self.make(), self.X, ops)

    @property
    def id(self) -> str:
        return f"{self.name}-{self.note}" if self.note else self.name


def _inner() -> Any:
    return cb.expand_window(1) >> cb.Linear(3)


def _tied() -> Any:
    embed = cb.Embed(3, 7)
    return embed >> cb.gelu() >> cb.unembed(embed)


def _mish(x: Any) -> Any:
    return x * np.tanh(np.log1p(np.exp(x)))


SHARED = cb.Linear(3, 3)
BY_STATISTICS = {testing.check_predict: "predict uses running statistics, not those of the batch"}

CASES = [
    Case("wrap", lambda: cb.wrap(Affine(4, 3)), floats(5, 3)),
    Case("reduce_mean", cb.reduce_mean, ragged_of_ragged(), "levels"),
    Case("ParametricAttention", cb.ParametricAttention, ragged_of_ragged(), "levels"),
    Case("LSTM", lambda: cb.LSTM(4, bi=True), ragged_of_ragged(), "levels"),
    Case("with_flatten", lambda: cb.with_flatten(_inner()), [listed(2, 1), [], listed(3)],
         "levels"),
    Case("with_array", lambda: cb.with_array(_inner()), ragged_of_ragged(), "levels"),
    Case("list2ragged", lambda: cb.list2ragged(), [listed(2, 1), [], listed(3)], "levels"),
    Case("map_list", lambda: cb.map_list(cb.with_flatten(_inner())), [listed(2, 1), listed(3)],
         "levels"),
    Case("wrap", lambda: cb.wrap(Doubled()), floats(5, 3), "stateless"),
    Case("Linear", lambda: cb.Linear(4, 3), floats(5, 3)),
    Case("Linear", lambda: cb.Linear(4, 3), floats(0, 3), "no-rows"),
    Case("Linear", lambda: cb.Linear(4), floats(1, 3), "one-row"),
    Case("Relu", lambda: cb.Relu(4, 3), floats(5, 3)),
    Case("Gelu", lambda: cb.Gelu(4, 3), floats(5, 3)),
    Case("relu", lambda: cb.relu(), floats(5, 3)),
    Case("relu", lambda: cb.relu(), floats(2, 5, 3), "3d"),
    Case("gelu", lambda: cb.gelu(), floats(5, 3) * 4),
    Case("Maxout", lambda: cb.Maxout(4, 3, pieces=3), floats(5, 3)),
    Case("Maxout", lambda: cb.Maxout(4, 3, pieces=1), floats(5, 3), "one-piece"),
    Case("Softmax", lambda: cb.Softmax(4, 3), floats(5, 3)),
    Case("Relu", lambda: cb.Relu(4, 3, normalize=True), floats(5, 3), "normalized"),
    Case("Maxout", lambda: cb.Maxout(4, normalize=True), floats(5, 3), "normalized"),
    Case("Mish", lambda: cb.Mish(4, 3), floats(5, 3)),
    Case("Swish", lambda: cb.Swish(4, 3), floats(5, 3)),
    Case("Dish", lambda: cb.Dish(4, 3), floats(5, 3)),
    Case("ELU", lambda: cb.ELU(4, 3, alpha=0.7), floats(5, 3)),
    Case("SELU", lambda: cb.SELU(4, 3), floats(5, 3)),
    Case("Sigmoid", lambda: cb.Sigmoid(4, 3), floats(5, 3)),
    Case("ClippedLinear", lambda: cb.ClippedLinear(4, 3, slope=-0.5, offset=0.3, max_val=0.8),
         floats(5, 3)),
    Case("ReluK", lambda: cb.ReluK(4, 3, k=1.5), floats(5, 3)),
    Case("HardTanh", lambda: cb.HardTanh(4, 3), floats(5, 3)),
    Case("HardSigmoid", lambda: cb.HardSigmoid(4, 3), floats(5, 3) * 2),
    Case("HardSwish", lambda: cb.HardSwish(4, 3), floats(5, 3) * 2),
    Case("HardSwishMobilenet", lambda: cb.HardSwishMobilenet(4, 3), floats(5, 3) * 2),
    Case("mish", cb.mish, floats(5, 3) * 4),
    Case("swish", cb.swish, floats(5, 3) * 4),
    Case("swish", cb.swish, floats(0, 3), "no-rows"),
    Case("dish", cb.dish, floats(5, 3) * 4),
    Case("elu", lambda: cb.elu(0.7), floats(5, 3)),
    Case("selu", cb.selu, floats(5, 3)),
    Case("clipped_linear", lambda: cb.clipped_linear(slope=2.0, min_val=-1.0), floats(5, 3)),
    Case("relu_k", lambda: cb.relu_k(1.5), floats(5, 3)),
    Case("hard_tanh", cb.hard_tanh, floats(5, 3)),
    Case("hard_sigmoid", cb.hard_sigmoid, floats(5, 3) * 3),
    Case("hard_swish", cb.hard_swish, floats(5, 3) * 3),
    Case("hard_swish_mobilenet", cb.hard_swish_mobilenet, floats(5, 3) * 3),
    Case("sigmoid_activation", cb.sigmoid_activation, floats(5, 3) * 4),
    Case("softmax_activation", cb.softmax_activation, floats(2, 5, 3)),
    Case("Logistic", cb.Logistic, floats(5, 3)),
    Case("elementwise", lambda: cb.elementwise(_mish), floats(5, 3) * 4),
    Case("elementwise", lambda: cb.elementwise(np.tanh, lambda x: 1 / np.cosh(x) ** 2),
         floats(5, 3), "given-derivative"),
    Case("elementwise", lambda: cb.elementwise(lambda x: np.where(x > 0, x, 0.1 * np.expm1(x))),
         floats(2, 5, 3), "3d"),
    Case("elementwise", lambda: cb.elementwise(_mish), floats(0, 3), "no-rows"),
    Case("elementwise", lambda: cb.elementwise(lambda x: 1 - 3 * x), floats(5, 3), "line"),
    Case("Softmax", lambda: cb.Softmax(4, 3, temperature=2.5), floats(5, 3), "temperature"),
    Case("Softmax", lambda: cb.Softmax(4, 3, normalize_outputs=False, temperature=2.5),
         floats(5, 3), "logits"),
    Case("MultiSoftmax", lambda: cb.MultiSoftmax((2, 3, 1)), floats(5, 3)),
    *(Case(name, lambda make=make: make(4, bias=False), floats(5, 3), "no-bias") for name, make in {
        "Linear": cb.Linear, "Relu": cb.Relu, "Gelu": cb.Gelu, "Swish": cb.Swish, "Mish": cb.Mish,
        "Dish": cb.Dish, "ELU": cb.ELU, "SELU": cb.SELU, "Sigmoid": cb.Sigmoid,
        "ClippedLinear": cb.ClippedLinear, "ReluK": cb.ReluK, "HardTanh": cb.HardTanh,
        "HardSigmoid": cb.HardSigmoid, "HardSwish": cb.HardSwish,
        "HardSwishMobilenet": cb.HardSwishMobilenet, "Maxout": cb.Maxout, "Softmax": cb.Softmax,
        "Conv1d": cb.Conv1d, "MultiHeadAttention": cb.MultiHeadAttention,
    }.items()),
    Case("MultiSoftmax", lambda: cb.MultiSoftmax((2, 3), bias=False), floats(5, 3), "no-bias"),
    Case("LayerNorm", lambda: cb.LayerNorm(bias=False), floats(5, 6), "no-bias"),
    Case("CrossAttention", lambda: cb.CrossAttention(4, bias=False),
         (ragged(3, 1), ragged(2, 5)), "no-bias"),
    Case("FeedForward", lambda: cb.FeedForward(3, activation="swiglu", bias=False), floats(5, 4),
         "no-bias"),
    Case("TransformerEncoder", lambda: cb.TransformerEncoder(4, heads=2, bias=False),
         floats(5, 4), "no-bias"),
    Case("TransformerDecoder", lambda: cb.TransformerDecoder(4, 3, bias=False, norm="rms"),
         (ragged(3, 2, width=4), ragged(2, 4)), "no-bias"),
    Case("RMSNorm", lambda: cb.RMSNorm(6), floats(5, 6)),
    Case("LayerNorm", lambda: cb.LayerNorm(6), floats(5, 6)),
    Case("BatchNorm", lambda: cb.BatchNorm(6), floats(5, 6), skip=BY_STATISTICS),
    Case("BatchNorm", lambda: cb.BatchNorm(3), floats(2, 3), "two-rows", skip=BY_STATISTICS),
    Case("BatchNorm", lambda: cb.with_array(cb.Linear(4) >> cb.BatchNorm() >> cb.gelu()),
         padded(3, 1, 2), "padded", skip=BY_STATISTICS),
    Case("BatchNorm", lambda: cb.checkpointed(cb.BatchNorm() >> cb.Linear(2)), floats(5, 3),
         "checkpointed", skip=BY_STATISTICS),
    Case("Dropout", lambda: cb.Dropout(), floats(5, 3), drop=0.5),
    Case("Embed", lambda: cb.Embed(4, 7), ids(9)),
    Case("Embed", lambda: cb.Embed(4, 7, column=1), ids(8).reshape(4, 2), "column"),
    Case("unembed", lambda: cb.unembed(cb.Embed(3, 7)), floats(5, 3)),
    Case("unembed", _tied, ids(9), "tied"),
    Case("EmbedBag", lambda: cb.EmbedBag(4, 7), cb.Ragged(ids(9), [3, 0, 5, 1])),
    Case("EmbedBag", lambda: cb.list2ragged() >> cb.EmbedBag(4, 7, column=1, reduce="sum"),
         [ids(8).reshape(4, 2), ids(2).reshape(1, 2)], "column-sum"),
    Case("HashEmbed", lambda: cb.HashEmbed(4, 11), keys(9)[:, 0]),
    Case("HashEmbed", lambda: cb.HashEmbed(4, 11, column=2, seed=5), keys(9), "column"),
    Case("SparseLinear", lambda: cb.SparseLinear(4, 11), sparse(3, 0, 1, 5, 0)),
    Case("SparseLinear", lambda: cb.SparseLinear(4, 11), sparse(0, 0), "no-entries"),
    Case("SparseLinear", lambda: cb.with_getitem(1, cb.relu()) >> cb.SparseLinear(4, 11),
         sparse(3, 0, 2), "values-of-a-layer"),
    Case("expand_window", lambda: cb.expand_window(2), floats(6, 2)),
    Case("expand_window", lambda: cb.expand_window(3), floats(2, 2), "wider-than-the-input"),
    Case("Conv1d", lambda: cb.Conv1d(4, 3), floats(5, 3)),
    Case("Conv1d", lambda: cb.Conv1d(4, width=4), floats(0, 3), "no-rows"),
    Case("Conv1d", lambda: cb.with_flatten(cb.Conv1d(2, width=4, dilation=2)),
         listed(3, 0, 1, 6), "even-dilated"),
    Case("Conv1d", lambda: cb.Conv1d(2, stride=2, padding="causal"), ragged(5, 0, 1, 2), "causal"),
    Case("Conv1d", lambda: cb.Conv1d(2, width=2, stride=2, padding="valid"), ragged(5, 0, 1, 2),
         "valid"),
    Case("Conv1d", lambda: cb.with_ragged(cb.Conv1d(2, stride=2)), padded(3, 4, 1), "padded"),
    Case("ParametricAttention", lambda: cb.ParametricAttention(3), ragged(2, 0, 3, 1)),
    Case("ParametricAttention", lambda: cb.ParametricAttention(key_transform=_inner() >>
         cb.Gelu(4)), ragged(2, 0, 3, 1), "keys"),
    Case("reduce_sum", cb.reduce_sum, ragged(2, 0, 3, 1)),
    Case("reduce_mean", cb.reduce_mean, ragged(2, 0, 3, 1, 0)),
    Case("reduce_max", cb.reduce_max, ragged(2, 3, 1)),
    Case("reduce_first", cb.reduce_first, ragged(2, 3, 1)),
    Case("reduce_last", cb.reduce_last, ragged(2, 3, 1)),
    Case("chain", lambda: cb.chain(cb.Linear(4), cb.gelu(), cb.Linear(2)), floats(5, 3)),
    Case("chain", lambda: cb.chain(SHARED, cb.gelu(), SHARED), floats(5, 3), "shared-layer"),
    Case("concatenate", lambda: cb.concatenate(cb.Linear(2), cb.gelu()), floats(5, 3)),
    Case("concatenate", lambda: cb.HashEmbed(2, 9, column=0) | cb.HashEmbed(3, 5, column=1),
         keys(6), "ids"),
    Case("concatenate", lambda: cb.with_array(cb.Linear(2)) | cb.noop(), ragged(2, 1), "ragged"),
    Case("concatenate", lambda: cb.with_array(cb.Linear(2)) | cb.noop(), listed(2, 1), "lists"),
    Case("concatenate", lambda: cb.with_array(cb.Linear(2)) | cb.noop(), padded(1, 2), "padded"),
    Case("add", lambda: cb.add(cb.Linear(3), cb.noop(), cb.relu()), floats(5, 3)),
    Case("add", lambda: cb.add(cb.noop(), cb.with_flatten(cb.Linear(3))), listed(2, 1), "lists"),
    Case("residual", lambda: cb.residual(cb.Linear(3)), floats(5, 3)),
    Case("residual", lambda: cb.residual(cb.noop()), floats(5, 3), "child-keeps-its-output"),
    Case("residual", lambda: cb.residual(cb.with_array(cb.Linear(3))), ragged(2, 1), "ragged"),
    Case("clone", lambda: cb.clone(cb.Gelu(3), 3), floats(5, 3)),
    Case("noop", cb.noop, floats(5, 3)),
    Case("with_flatten", lambda: cb.with_flatten(_inner()), listed(3, 1, 0, 2)),
    Case("with_flatten", lambda: cb.with_flatten(cb.Embed(2, 7)), [ids(3), ids(2)], "ids"),
    Case("with_array", lambda: cb.with_array(_inner()), listed(3, 1, 2), "list"),
    Case("with_array", lambda: cb.with_array(_inner()), ragged(3, 1, 0, 2), "ragged"),
    Case("with_array", lambda: cb.with_array(_inner()), padded(3, 1, 2), "padded"),
    Case("with_array", lambda: cb.with_array(_inner()), floats(5, 3), "array"),
    Case("with_array2d", lambda: cb.with_array2d(_inner()), padded(3, 1, 2)),
    Case("with_array2d", lambda: cb.with_array2d(_inner()), listed(3, 1, 2), "list"),
    Case("with_list", lambda: cb.with_list(cb.with_flatten(_inner())), ragged(3, 1, 2), "ragged"),
    Case("with_list", lambda: cb.with_list(cb.with_flatten(_inner())), floats(5, 3), "array"),
    Case("with_ragged", lambda: cb.with_ragged(cb.ParametricAttention()), listed(3, 1), "list"),
    Case("with_ragged", lambda: cb.with_ragged(cb.ParametricAttention()), padded(1, 3), "padded"),
    Case("with_ragged", lambda: cb.with_ragged(cb.with_getitem(0, cb.with_array(cb.Linear(3)))
         >> cb.add(cb.tuple_getitem(0), cb.tuple_getitem(1))),
         (listed(1, 0, 3), padded(1, 0, 3)), "tuple"),
    Case("with_padded", lambda: cb.with_padded(cb.with_array(_inner())), listed(1, 3, 2), "list"),
    Case("with_padded", lambda: cb.with_padded(cb.with_array(_inner())), ragged(2, 3), "ragged"),
    Case("list2ragged", cb.list2ragged, listed(3, 0, 2)),
    Case("ragged2list", cb.ragged2list, ragged(3, 0, 2)),
    Case("list2padded", cb.list2padded, listed(1, 3, 2)),
    Case("padded2list", cb.padded2list, padded(1, 3, 2)),
    Case("list2array", cb.list2array, listed(1, 3, 2)),
    Case("list2array", cb.list2array, [ids(3).astype(float), ids(2).astype(float)], "1d"),
    Case("LSTM", lambda: cb.LSTM(2, 3), padded(3, 1, 4)),
    Case("LSTM", lambda: cb.LSTM(4, bi=True), padded(2, 2), "bi"),
    Case("LSTM", lambda: cb.with_padded(cb.LSTM(2, depth=2, bi=True)),
         listed(1, 0, 3), "deep"),
    Case("LSTM", lambda: cb.LSTM(4, bi=True, bias=False), listed(1, 0, 3), "no-bias"),
    Case("GRU", lambda: cb.GRU(2, 3), padded(3, 1, 4)),
    Case("GRU", lambda: cb.GRU(2, 3, bias=False), ragged(3, 0, 1), "no-bias"),
    Case("GRU", lambda: cb.GRU(4, bi=True, depth=2), padded(2, 2), "deep"),
    Case("RNN", lambda: cb.RNN(2, 3), padded(3, 1, 4)),
    Case("RNN", lambda: cb.RNN(2, 3, bias=False), ragged(3, 0, 1), "no-bias"),
    Case("RNN", lambda: cb.RNN(4, bi=True, nonlinearity="relu"), padded(2, 3), "relu"),
    Case("bidirectional", lambda: cb.bidirectional(cb.LSTM(2, 3)), padded(3, 1, 4)),
    Case("bidirectional", lambda: cb.bidirectional(cb.noop(), cb.RNN(2)), padded(1, 3), "two"),
    Case("layerize", lambda: cb.layerize(lambda X: (X * X, lambda dY: 2 * X * dY)), floats(5, 3)),
    Case("highway", lambda: cb.highway(cb.Gelu(), cb.Linear(3)), floats(5, 3)),
    Case("highway", lambda: cb.highway(cb.noop(), cb.noop()), floats(5, 3), "no-parameters"),
    Case("gated", lambda: cb.gated(cb.Linear(4), cb.Sigmoid(4)), floats(5, 3)),
    Case("gated", lambda: cb.gated(cb.noop(), cb.swish()), floats(2, 5, 3), "no-parameters"),
    Case("tuplify", lambda: cb.tuplify(cb.Linear(2), cb.noop(), cb.gelu()), floats(5, 3)),
    Case("tuplify", lambda: cb.tuplify(cb.Embed(2, 7), cb.Embed(3, 7)), ids(5), "ids"),
    Case("with_getitem", lambda: cb.with_getitem(1, cb.Linear(2)), (floats(5, 3), floats(4, 3))),
    Case("with_getitem", lambda: cb.tuplify(cb.noop(), cb.noop()) >> cb.with_getitem(-1, cb.gelu())
         >> cb.with_getitem(0, cb.Linear(4)), floats(5, 3), "two-in-turn"),
    Case("tuple_getitem", lambda: cb.tuplify(cb.noop(), cb.gelu()) >> cb.tuple_getitem(1),
         floats(5, 3)),
    Case("tuple_getitem", lambda: cb.tuplify(cb.Linear(2), cb.noop()) >> cb.with_getitem(
        1, cb.Linear(2)) >> cb.add(cb.tuple_getitem(0), cb.tuple_getitem(-1)), floats(5, 3),
        "of-both"),
    Case("siamese", lambda: cb.siamese(cb.Gelu(4), cb.CauchySimilarity()),
         (floats(5, 3), floats(5, 3, seed=1))),
    Case("siamese", lambda: cb.siamese(cb.Embed(3, 7), cb.CauchySimilarity()),
         (ids(5), ids(5)), "ids"),
    Case("CauchySimilarity", lambda: cb.CauchySimilarity(3), (floats(5, 3), floats(5, 3, seed=1))),
    Case("map_list", lambda: cb.map_list(_inner()), listed(3, 0, 2)),
    Case("map_list", lambda: cb.map_list(cb.reduce_sum() >> cb.Linear(2)),
         [ragged(3, 1), ragged(2)], "of-ragged"),
    Case("map_list", lambda: cb.map_list(cb.Embed(2, 7)), [ids(3), ids(2)], "ids"),
    Case("with_square_sequences",
         lambda: cb.with_square_sequences(cb.with_reshape(_inner())), listed(3, 1, 3, 0, 1)),
    Case("with_square_sequences", lambda: cb.with_square_sequences(cb.gelu()), listed(2, 1), "3d"),
    Case("uniqued", lambda: cb.uniqued(cb.Embed(2, 3)), ids(9, below=3)),
    Case("uniqued", lambda: cb.uniqued(cb.HashEmbed(2, 9, column=1)), ids(12, 2).reshape(6, 2),
         "rows"),
    Case("uniqued", lambda: cb.uniqued(cb.HashEmbed(2, 9, column=1), column=1),
         ids(12, 2).reshape(6, 2), "column"),
    Case("uniqued", lambda: cb.uniqued(cb.Embed(2, 3)), ids(0), "no-rows"),
    Case("with_reshape", lambda: cb.with_reshape(_inner()), floats(2, 4, 3)),
    Case("with_reshape", lambda: cb.with_reshape(cb.Linear(2)), floats(4, 3), "2d"),
    Case("with_reshape", lambda: cb.with_reshape(cb.Linear(2)), floats(2, 0, 2, 3), "no-rows"),
    Case("with_debug", lambda: cb.with_debug(cb.Linear(2)), floats(4, 3)),
    Case("with_cpu", lambda: cb.with_cpu(cb.Linear(4)) >> cb.Linear(2), floats(4, 3)),
    Case("with_cpu", lambda: cb.with_flatten(cb.with_cpu(cb.Embed(3, 7)) >> cb.Linear(2)),
         [ids(3), ids(2)], "ids"),
    Case("with_nvtx_range", lambda: cb.with_nvtx_range(cb.Linear(2)), floats(4, 3)),
    Case("checkpointed", lambda: cb.checkpointed(cb.Maxout(4, 3) >> cb.Dropout() >> cb.Linear(2)),
         floats(5, 3), drop=0.5),
    Case("checkpointed", lambda: cb.with_flatten(cb.checkpointed(cb.checkpointed(_inner()))),
         listed(3, 1), "lengths"),
    Case("with_threads", lambda: cb.with_threads(cb.with_flatten(_inner()), 2), listed(3, 0, 2, 4)),
    Case("with_threads", lambda: cb.with_flatten(cb.with_threads(_inner(), 2)), listed(3, 1, 2),
         "lengths"),
    Case("with_threads", lambda: cb.with_threads(cb.reduce_mean() >> cb.Linear(2), 3),
         ragged(3, 1, 2, 5), "of-ragged"),
    Case("with_threads", lambda: cb.with_threads(cb.Embed(2, 7) >> cb.Gelu(3), 2), ids(9), "rows"),
    Case("array_getitem", lambda: cb.array_getitem((slice(None), -1)), floats(4, 3)),
    Case("array_getitem", lambda: cb.array_getitem([2, 0, 2]), floats(4, 3), "twice"),
    Case("array_getitem", lambda: cb.array_getitem(([2, 0], slice(1, None))), floats(4, 3), "both"),
    Case("StaticVectors", lambda: cb.StaticVectors(floats(7, 3)) >> cb.Linear(2), ids(9)),
    Case("StaticVectors", lambda: cb.StaticVectors(floats(7, 3), column=1),
         ids(8).reshape(4, 2), "column"),
    Case("remap_ids", lambda: cb.remap_ids({"a": 1, "b": 2}) >> cb.Embed(2, 3),
         ["b", "c", "a"]),
    Case("premap_ids", lambda: cb.premap_ids({5: 1, 2: 2}) >> cb.Embed(2, 3), ids(9)),
    Case("premap_ids", lambda: cb.premap_ids({}, 1, column=0) >> cb.Embed(2, 3), keys(5), "column"),
    Case("strings2arrays", lambda: cb.strings2arrays() >> cb.with_flatten(cb.HashEmbed(
        2, 9, column=0)), [["a", "b", "a"], [], ["c"]]),
    Case("self_attention", lambda: cb.self_attention(2), floats(4, 12)),
    Case("self_attention", lambda: cb.with_flatten(cb.self_attention(1, causal=True)),
         listed(3, 1, 0, 3), "causal-lists"),
    Case("self_attention", lambda: cb.with_array(cb.self_attention(2, causal=True, rotary=True)),
         padded(3, 1, 3, width=12), "rotary"),
    Case("MultiHeadAttention", lambda: cb.MultiHeadAttention(4, 3, heads=2), floats(5, 3)),
    Case("MultiHeadAttention", lambda: cb.with_flatten(cb.MultiHeadAttention(4, rotary=True,
         heads=2)), listed(1, 4, 0, 2), "rotary"),
    Case("cross_attention", lambda: cb.cross_attention(2), (ragged(3, 1, 0, 2, 3, width=4),
         ragged(2, 5, 1, 0, 2, width=8))),
    Case("CrossAttention", lambda: cb.CrossAttention(4, heads=2),
         (listed(3, 1, 0, 2, 3), listed(2, 5, 1, 0, 2, width=2)), "lists"),
    Case("CrossAttention", lambda: cb.CrossAttention(4, 3, 2, heads=2),
         (padded(3, 1, 0, 2), padded(2, 5, 1, 0, width=2)), "padded"),
    Case("CrossAttention", lambda: cb.CrossAttention(4), (ragged(3, 1), ragged(2, 5)), "ragged"),
    Case("CrossAttention", lambda: cb.tuplify(cb.noop(), cb.Linear(2)) >> cb.CrossAttention(4),
         floats(5, 3), "arrays"),
    Case("FeedForward", lambda: cb.FeedForward(3, activation="relu"), floats(5, 4), "relu",
         drop=0.3),
    Case("FeedForward", lambda: cb.FeedForward(3, 4, hidden=5, activation="swiglu"),
         floats(5, 4), "swiglu", drop=0.3),
    Case("TransformerEncoder", lambda: cb.TransformerEncoder(4, heads=2), floats(5, 4),
         drop=0.3),
    Case("TransformerEncoder", lambda: cb.TransformerEncoder(4, pre_norm=False, causal=True),
         floats(5, 4), "post-norm"),
    Case("TransformerEncoder", lambda: cb.with_array(cb.TransformerEncoder(
        4, heads=2, activation="swiglu", norm="rms", rotary=True, depth=2)),
         padded(2, 0, 3, width=4), "rotary"),
    Case("TransformerDecoder", lambda: cb.TransformerDecoder(4, heads=2, depth=2),
         (listed(3, 1, 0, 2, width=4), listed(2, 4, 1, 0, width=2)), drop=0.3),
    Case("TransformerDecoder", lambda: cb.TransformerDecoder(
        4, 3, pre_norm=False, rotary=True, heads=2, norm="rms", hidden=3),
         (padded(3, 1, width=4), padded(2, 4)), "post-norm"),
    Case("TransformerDecoder", lambda: cb.with_getitem(1, cb.with_array(cb.TransformerEncoder(4)))
         >> cb.TransformerDecoder(4), (ragged(3, 2, width=4), ragged(2, 4, width=4)), "encoded"),
    Case("LearnedPositions", lambda: cb.LearnedPositions(longest=4), floats(4, 3)),
    Case("LearnedPositions", lambda: cb.with_array(cb.LearnedPositions(3, longest=5)),
         padded(2, 0, 3), "padded"),
    Case("sinusoidal_positions", lambda: cb.with_flatten(cb.sinusoidal_positions()),
         listed(2, 3)),
    Case("CRF", lambda: cb.CRF(3), listed(3, 1, 0, 4)),
    Case("CRF", lambda: cb.with_array(cb.Linear(2)) >> cb.CRF(), ragged(2, 0, 3), "ragged"),
    Case("viterbi", lambda: cb.viterbi() >> cb.map_list(cb.layerize(
        lambda X: (X * 1.0, lambda dY: dY))),
         (listed(3, 0, 4, width=4), floats(4, 4), floats(4), floats(4))),
]  # fmt: skip

"""The layers, one idea a file."""

from combinet.layers.attention.attention import (
    CrossAttention,
    MultiHeadAttention,
    cross_attention,
    self_attention,
)
from combinet.layers.attention.parametric_attention import ParametricAttention
from combinet.layers.attention.transformer import (
    FeedForward,
    TransformerDecoder,
    TransformerEncoder,
)
from combinet.layers.dense.cauchy_similarity import CauchySimilarity
from combinet.layers.dense.dish import Dish, dish
from combinet.layers.dense.dropout import Dropout
from combinet.layers.dense.elementwise import elementwise
from combinet.layers.dense.elu import ELU, SELU, elu, selu
from combinet.layers.dense.gelu import Gelu, gelu
from combinet.layers.dense.hard_activations import (
    ClippedLinear,
    HardSigmoid,
    HardSwish,
    HardSwishMobilenet,
    HardTanh,
    ReluK,
    clipped_linear,
    hard_sigmoid,
    hard_swish,
    hard_swish_mobilenet,
    hard_tanh,
    relu_k,
)
from combinet.layers.dense.linear import Linear
from combinet.layers.dense.maxout import Maxout
from combinet.layers.dense.mish import Mish, mish
from combinet.layers.dense.relu import Relu, relu
from combinet.layers.dense.sigmoid import Logistic, Sigmoid, sigmoid_activation
from combinet.layers.dense.softmax import MultiSoftmax, Softmax, softmax_activation
from combinet.layers.dense.sparse_linear import SparseLinear
from combinet.layers.dense.swish import Swish, swish
from combinet.layers.embed.embed import Embed, HashEmbed
from combinet.layers.embed.embed_bag import EmbedBag
from combinet.layers.embed.positions import LearnedPositions, sinusoidal_positions
from combinet.layers.embed.tables import StaticVectors, premap_ids, remap_ids, strings2arrays
from combinet.layers.embed.unembed import unembed
from combinet.layers.norm.batch_norm import BatchNorm
from combinet.layers.norm.layer_norm import LayerNorm
from combinet.layers.norm.rms_norm import RMSNorm
from combinet.layers.sequence.array_getitem import array_getitem
from combinet.layers.sequence.bidirectional import bidirectional
from combinet.layers.sequence.conv1d import Conv1d
from combinet.layers.sequence.conversions import (
    list2array,
    list2padded,
    list2ragged,
    padded2list,
    ragged2list,
)
from combinet.layers.sequence.crf import CRF, viterbi
from combinet.layers.sequence.expand_window import expand_window
from combinet.layers.sequence.recurrent import GRU, LSTM, RNN
from combinet.layers.sequence.reduce import (
    reduce_first,
    reduce_last,
    reduce_max,
    reduce_mean,
    reduce_sum,
)

__all__ = [
    "CRF",
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "BatchNorm",
    "CauchySimilarity",
    "ClippedLinear",
    "Conv1d",
    "CrossAttention",
    "Dish",
    "Dropout",
    "Embed",
    "EmbedBag",
    "FeedForward",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "HardSwishMobilenet",
    "HardTanh",
    "HashEmbed",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Logistic",
    "Maxout",
    "Mish",
    "MultiHeadAttention",
    "MultiSoftmax",
    "ParametricAttention",
    "RMSNorm",
    "Relu",
    "ReluK",
    "Sigmoid",
    "Softmax",
    "SparseLinear",
    "StaticVectors",
    "Swish",
    "TransformerDecoder",
    "TransformerEncoder",
    "array_getitem",
    "bidirectional",
    "clipped_linear",
    "cross_attention",
    "dish",
    "elementwise",
    "elu",
    "expand_window",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "hard_swish_mobilenet",
    "hard_tanh",
    "list2array",
    "list2padded",
    "list2ragged",
    "mish",
    "padded2list",
    "premap_ids",
    "ragged2list",
    "reduce_first",
    "reduce_last",
    "reduce_max",
    "reduce_mean",
    "reduce_sum",
    "relu",
    "relu_k",
    "remap_ids",
    "self_attention",
    "selu",
    "sigmoid_activation",
    "sinusoidal_positions",
    "softmax_activation",
    "strings2arrays",
    "swish",
    "unembed",
    "viterbi",
]  # fmt: skip

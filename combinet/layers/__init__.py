"""The layers, one idea a file."""

from combinet.layers.array_getitem import array_getitem
from combinet.layers.attention import (
    CrossAttention,
    MultiHeadAttention,
    cross_attention,
    self_attention,
)
from combinet.layers.batch_norm import BatchNorm
from combinet.layers.bidirectional import bidirectional
from combinet.layers.cauchy_similarity import CauchySimilarity
from combinet.layers.conv1d import Conv1d
from combinet.layers.conversions import (
    list2array,
    list2padded,
    list2ragged,
    padded2list,
    ragged2list,
)
from combinet.layers.crf import CRF, viterbi
from combinet.layers.dish import Dish, dish
from combinet.layers.dropout import Dropout
from combinet.layers.elementwise import elementwise
from combinet.layers.elu import ELU, SELU, elu, selu
from combinet.layers.embed import Embed, HashEmbed
from combinet.layers.embed_bag import EmbedBag
from combinet.layers.expand_window import expand_window
from combinet.layers.gelu import Gelu, gelu
from combinet.layers.hard_activations import (
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
from combinet.layers.layer_norm import LayerNorm
from combinet.layers.linear import Linear
from combinet.layers.maxout import Maxout
from combinet.layers.mish import Mish, mish
from combinet.layers.parametric_attention import ParametricAttention
from combinet.layers.positions import LearnedPositions, sinusoidal_positions
from combinet.layers.recurrent import GRU, LSTM, RNN
from combinet.layers.reduce import reduce_first, reduce_last, reduce_max, reduce_mean, reduce_sum
from combinet.layers.relu import Relu, relu
from combinet.layers.rms_norm import RMSNorm
from combinet.layers.sigmoid import Logistic, Sigmoid, sigmoid_activation
from combinet.layers.softmax import MultiSoftmax, Softmax, softmax_activation
from combinet.layers.sparse_linear import SparseLinear
from combinet.layers.swish import Swish, swish
from combinet.layers.tables import StaticVectors, premap_ids, remap_ids, strings2arrays
from combinet.layers.transformer import FeedForward, TransformerDecoder, TransformerEncoder
from combinet.layers.unembed import unembed

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

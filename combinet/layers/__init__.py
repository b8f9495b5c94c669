"""The layers, one idea a file."""

from combinet.layers.activations import Gelu, Relu, Softmax, gelu, relu
from combinet.layers.conversions import (
    list2array,
    list2padded,
    list2ragged,
    padded2list,
    ragged2list,
)
from combinet.layers.dropout import Dropout
from combinet.layers.embed import Embed, HashEmbed
from combinet.layers.expand_window import expand_window
from combinet.layers.layer_norm import LayerNorm
from combinet.layers.linear import Linear
from combinet.layers.maxout import Maxout
from combinet.layers.parametric_attention import ParametricAttention
from combinet.layers.reduce import (
    reduce_first,
    reduce_last,
    reduce_max,
    reduce_mean,
    reduce_sum,
)

__all__ = [
    "Dropout", "Embed", "Gelu", "HashEmbed", "LayerNorm", "Linear", "Maxout",
    "ParametricAttention", "Relu", "Softmax", "expand_window", "gelu", "list2array",
    "list2padded", "list2ragged", "padded2list", "ragged2list", "reduce_first", "reduce_last",
    "reduce_max", "reduce_mean", "reduce_sum", "relu",
]  # fmt: skip

"""Loops that Numba compiles for the CPU: what they compute is said in the Ops methods they serve.

Imported when the first is needed. Compiled code is cached on disk, for each dtype.
"""

from combinet.ops.kernels.dense import (
    add_bias,
    add_maxout,
    add_relu,
    backprop_layer_norm,
    backprop_maxout,
    backprop_softmax,
    gelu,
    gelu_value,
    layer_norm,
    relu,
    softmax,
)
from combinet.ops.kernels.embed import (
    embed_bag,
    fill_rows,
    gather_sum,
    hash_rows,
    scatter_add,
    scatter_bags,
    set_rows,
    unique,
)
from combinet.ops.kernels.recurrent import backprop_lstm_cell, lstm_alone, lstm_cell
from combinet.ops.kernels.sequence import (
    attention_weights,
    backprop_attention_weights,
    backprop_expand_window,
    expand_window,
    reduce_sum,
    repeat_rows,
)
from combinet.ops.kernels.update import adam, adam_rows

__all__ = [
    "adam",
    "adam_rows",
    "add_bias",
    "add_maxout",
    "add_relu",
    "attention_weights",
    "backprop_attention_weights",
    "backprop_expand_window",
    "backprop_layer_norm",
    "backprop_lstm_cell",
    "backprop_maxout",
    "backprop_softmax",
    "embed_bag",
    "expand_window",
    "fill_rows",
    "gather_sum",
    "gelu",
    "gelu_value",
    "hash_rows",
    "layer_norm",
    "lstm_alone",
    "lstm_cell",
    "reduce_sum",
    "relu",
    "repeat_rows",
    "scatter_add",
    "scatter_bags",
    "set_rows",
    "softmax",
    "unique",
]

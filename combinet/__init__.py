"""Deep learning by function composition: pure layers, combinators, explicit backward passes."""

from typing import TYPE_CHECKING

from combinet.batches.minibatch import minibatch as minibatch
from combinet.batches.padded import Padded as Padded
from combinet.batches.ragged import Ragged as Ragged
from combinet.batches.structure import get_width as get_width
from combinet.batches.structure import to_device as to_device
from combinet.combinators.checkpoint import checkpointed as checkpointed
from combinet.combinators.compose import add as add
from combinet.combinators.compose import chain as chain
from combinet.combinators.compose import clone as clone
from combinet.combinators.compose import concatenate as concatenate
from combinet.combinators.compose import gated as gated
from combinet.combinators.compose import highway as highway
from combinet.combinators.compose import layerize as layerize
from combinet.combinators.compose import noop as noop
from combinet.combinators.compose import residual as residual
from combinet.combinators.device import with_cpu as with_cpu
from combinet.combinators.hooks import with_debug as with_debug
from combinet.combinators.hooks import with_nvtx_range as with_nvtx_range
from combinet.combinators.parallel import with_threads as with_threads
from combinet.combinators.subsets import map_list as map_list
from combinet.combinators.subsets import uniqued as uniqued
from combinet.combinators.subsets import with_square_sequences as with_square_sequences
from combinet.combinators.tree_edit import remove_node as remove_node
from combinet.combinators.tree_edit import replace_node as replace_node
from combinet.combinators.tuples import siamese as siamese
from combinet.combinators.tuples import tuple_getitem as tuple_getitem
from combinet.combinators.tuples import tuplify as tuplify
from combinet.combinators.tuples import with_getitem as with_getitem
from combinet.combinators.with_batches import with_array as with_array
from combinet.combinators.with_batches import with_array2d as with_array2d
from combinet.combinators.with_batches import with_flatten as with_flatten
from combinet.combinators.with_batches import with_list as with_list
from combinet.combinators.with_batches import with_padded as with_padded
from combinet.combinators.with_batches import with_ragged as with_ragged
from combinet.combinators.with_batches import with_reshape as with_reshape
from combinet.core.gradients import get_gradients as get_gradients
from combinet.core.inputs import data_validation as data_validation
from combinet.core.model import Model as Model
from combinet.core.node import Param as Param
from combinet.core.run import Run as Run
from combinet.core.wrap import wrap as wrap
from combinet.errors import CombinetError as CombinetError
from combinet.errors import DeviceError as DeviceError
from combinet.errors import DimensionError as DimensionError
from combinet.errors import FormatError as FormatError
from combinet.errors import InputError as InputError
from combinet.errors import StateError as StateError
from combinet.foreign_names import explain_foreign_names as _explain_foreign_names
from combinet.initializers import glorot_normal as glorot_normal
from combinet.initializers import glorot_uniform as glorot_uniform
from combinet.initializers import he_normal as he_normal
from combinet.initializers import he_uniform as he_uniform
from combinet.initializers import lecun_normal as lecun_normal
from combinet.initializers import lecun_uniform as lecun_uniform
from combinet.initializers import normal as normal
from combinet.initializers import ones as ones
from combinet.initializers import orthogonal as orthogonal
from combinet.initializers import uniform as uniform
from combinet.initializers import zeros as zeros
from combinet.layers.attention.attention import CrossAttention as CrossAttention
from combinet.layers.attention.attention import MultiHeadAttention as MultiHeadAttention
from combinet.layers.attention.attention import cross_attention as cross_attention
from combinet.layers.attention.attention import self_attention as self_attention
from combinet.layers.attention.parametric_attention import (
    ParametricAttention as ParametricAttention,
)
from combinet.layers.attention.transformer import FeedForward as FeedForward
from combinet.layers.attention.transformer import TransformerDecoder as TransformerDecoder
from combinet.layers.attention.transformer import TransformerEncoder as TransformerEncoder
from combinet.layers.dense.cauchy_similarity import CauchySimilarity as CauchySimilarity
from combinet.layers.dense.dish import Dish as Dish
from combinet.layers.dense.dish import dish as dish
from combinet.layers.dense.dropout import Dropout as Dropout
from combinet.layers.dense.dropout import set_dropout_rate as set_dropout_rate
from combinet.layers.dense.elementwise import elementwise as elementwise
from combinet.layers.dense.elu import ELU as ELU
from combinet.layers.dense.elu import SELU as SELU
from combinet.layers.dense.elu import elu as elu
from combinet.layers.dense.elu import selu as selu
from combinet.layers.dense.gelu import Gelu as Gelu
from combinet.layers.dense.gelu import gelu as gelu
from combinet.layers.dense.hard_activations import ClippedLinear as ClippedLinear
from combinet.layers.dense.hard_activations import HardSigmoid as HardSigmoid
from combinet.layers.dense.hard_activations import HardSwish as HardSwish
from combinet.layers.dense.hard_activations import HardSwishMobilenet as HardSwishMobilenet
from combinet.layers.dense.hard_activations import HardTanh as HardTanh
from combinet.layers.dense.hard_activations import ReluK as ReluK
from combinet.layers.dense.hard_activations import clipped_linear as clipped_linear
from combinet.layers.dense.hard_activations import hard_sigmoid as hard_sigmoid
from combinet.layers.dense.hard_activations import hard_swish as hard_swish
from combinet.layers.dense.hard_activations import hard_swish_mobilenet as hard_swish_mobilenet
from combinet.layers.dense.hard_activations import hard_tanh as hard_tanh
from combinet.layers.dense.hard_activations import relu_k as relu_k
from combinet.layers.dense.linear import Linear as Linear
from combinet.layers.dense.maxout import Maxout as Maxout
from combinet.layers.dense.mish import Mish as Mish
from combinet.layers.dense.mish import mish as mish
from combinet.layers.dense.relu import Relu as Relu
from combinet.layers.dense.relu import relu as relu
from combinet.layers.dense.sigmoid import Logistic as Logistic
from combinet.layers.dense.sigmoid import Sigmoid as Sigmoid
from combinet.layers.dense.sigmoid import sigmoid_activation as sigmoid_activation
from combinet.layers.dense.softmax import MultiSoftmax as MultiSoftmax
from combinet.layers.dense.softmax import Softmax as Softmax
from combinet.layers.dense.softmax import softmax_activation as softmax_activation
from combinet.layers.dense.sparse_linear import SparseLinear as SparseLinear
from combinet.layers.dense.swish import Swish as Swish
from combinet.layers.dense.swish import swish as swish
from combinet.layers.embed.embed import Embed as Embed
from combinet.layers.embed.embed import EmbedBag as EmbedBag
from combinet.layers.embed.embed import HashEmbed as HashEmbed
from combinet.layers.embed.positions import LearnedPositions as LearnedPositions
from combinet.layers.embed.positions import sinusoidal_positions as sinusoidal_positions
from combinet.layers.embed.tables import StaticVectors as StaticVectors
from combinet.layers.embed.tables import premap_ids as premap_ids
from combinet.layers.embed.tables import remap_ids as remap_ids
from combinet.layers.embed.tables import strings2arrays as strings2arrays
from combinet.layers.embed.unembed import unembed as unembed
from combinet.layers.norm.batch_norm import BatchNorm as BatchNorm
from combinet.layers.norm.layer_norm import LayerNorm as LayerNorm
from combinet.layers.norm.rms_norm import RMSNorm as RMSNorm
from combinet.layers.sequence.array_getitem import array_getitem as array_getitem
from combinet.layers.sequence.bidirectional import bidirectional as bidirectional
from combinet.layers.sequence.conv1d import Conv1d as Conv1d
from combinet.layers.sequence.conversions import list2array as list2array
from combinet.layers.sequence.conversions import list2padded as list2padded
from combinet.layers.sequence.conversions import list2ragged as list2ragged
from combinet.layers.sequence.conversions import padded2list as padded2list
from combinet.layers.sequence.conversions import ragged2list as ragged2list
from combinet.layers.sequence.crf import CRF as CRF
from combinet.layers.sequence.crf import viterbi as viterbi
from combinet.layers.sequence.expand_window import expand_window as expand_window
from combinet.layers.sequence.recurrent import GRU as GRU
from combinet.layers.sequence.recurrent import LSTM as LSTM
from combinet.layers.sequence.recurrent import RNN as RNN
from combinet.layers.sequence.reduce import reduce_first as reduce_first
from combinet.layers.sequence.reduce import reduce_last as reduce_last
from combinet.layers.sequence.reduce import reduce_max as reduce_max
from combinet.layers.sequence.reduce import reduce_mean as reduce_mean
from combinet.layers.sequence.reduce import reduce_sum as reduce_sum
from combinet.losses.base import Loss as Loss
from combinet.losses.crf import CRFLoss as CRFLoss
from combinet.losses.crossentropy import BinaryCrossentropy as BinaryCrossentropy
from combinet.losses.crossentropy import CategoricalCrossentropy as CategoricalCrossentropy
from combinet.losses.crossentropy import FocalLoss as FocalLoss
from combinet.losses.crossentropy import (
    SequenceCategoricalCrossentropy as SequenceCategoricalCrossentropy,
)
from combinet.losses.targets import to_categorical as to_categorical
from combinet.losses.vectors import ContrastiveLoss as ContrastiveLoss
from combinet.losses.vectors import CosineDistance as CosineDistance
from combinet.losses.vectors import L2Distance as L2Distance
from combinet.losses.vectors import TripletLoss as TripletLoss
from combinet.ops.backends import get_array_ops as get_array_ops
from combinet.ops.base import Ops as Ops
from combinet.ops.cupy import CupyOps as CupyOps
from combinet.ops.numba import NumbaOps as NumbaOps
from combinet.ops.numpy import NumpyOps as NumpyOps
from combinet.optimizers.adafactor import Adafactor as Adafactor
from combinet.optimizers.adam import Adam as Adam
from combinet.optimizers.adam import AdamW as AdamW
from combinet.optimizers.adam import RAdam as RAdam
from combinet.optimizers.base import Optimizer as Optimizer
from combinet.optimizers.lookahead import Lookahead as Lookahead
from combinet.optimizers.sgd import SGD as SGD
from combinet.optimizers.sgd import Lion as Lion
from combinet.schedules import compounding as compounding
from combinet.schedules import constant as constant
from combinet.schedules import constant_then as constant_then
from combinet.schedules import cosine as cosine
from combinet.schedules import cyclic_triangular as cyclic_triangular
from combinet.schedules import decaying as decaying
from combinet.schedules import one_cycle as one_cycle
from combinet.schedules import plateau as plateau
from combinet.schedules import slanted_triangular as slanted_triangular
from combinet.schedules import warmup_linear as warmup_linear

__version__ = "0.1.0.dev0"

if not TYPE_CHECKING:  # type checkers read the imports above; `import *` reads __all__
    __all__ = sorted(
        name for name, value in globals().items() if getattr(value, "__name__", None) == name
    )
    _explain_foreign_names(globals()[name] for name in __all__)

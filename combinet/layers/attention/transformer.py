"""Transformer blocks, composed of attention, feed-forward layers and residual connections."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from combinet.combinators.compose import add, clone, gated, residual
from combinet.combinators.tuples import tuple_getitem, tuplify, with_getitem
from combinet.combinators.with_batches import with_array, with_ragged
from combinet.core.model import Model
from combinet.errors import InputError
from combinet.layers.attention.attention import CrossAttention, MultiHeadAttention
from combinet.layers.dense.dropout import Dropout
from combinet.layers.dense.gelu import Gelu
from combinet.layers.dense.linear import Linear
from combinet.layers.dense.relu import Relu
from combinet.layers.dense.swish import Swish
from combinet.layers.norm.layer_norm import LayerNorm
from combinet.layers.norm.rms_norm import RMSNorm
from combinet.types import Floats2d

Maker: TypeAlias = Callable[..., Model[Floats2d, Floats2d]]


def FeedForward(
    nO: int,
    nI: int | None = None,
    *,
    hidden: int | None = None,
    activation: str = "gelu",
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Feed-forward layer of a transformer: an affine map, an activation and another affine map.

    The input is an array of floats (n, nI), the output an array (n, nO). With "relu" or "gelu" as
    the activation f, Y = f(X @ W.T + b) @ U.T + c. With "swiglu", the first part is
    `gated(Linear(hidden), Swish(hidden))`, which has twice the weights: two thirds of the hidden
    width give the same number of weights as "gelu". A `Dropout()` layer precedes the last map.

    Args:
        nO: Number of output columns.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        hidden: Number of columns between the maps. 4 * nO if None.
        activation: "relu", "gelu" or "swiglu".
        bias: Whether to add biases in the affine maps. The paper on "swiglu" uses none.

    Raises:
        InputError: If `activation` has another value.
        DimensionError: If X does not have nI columns.

    Example:
        >>> FeedForward(2, 2, activation="swiglu")
        chain: no parameters, not initialized
          gated
            linear  nI=2 nO=8
            swish   nI=2 nO=8
          dropout
          linear    nI=8 nO=2

    Source: Vaswani et al. 2017, arXiv:1706.03762, equation 2; Shazeer 2020, arXiv:2002.05202,
    equation 6, for "swiglu".
    """
    inner = 4 * nO if hidden is None else hidden
    make = _named("activation", activation, _FIRST_LAYERS)
    return make(inner, nI, bias=bias) >> Dropout() >> Linear(nO, inner, bias=bias)


def _swiglu(nO: int, nI: int | None, *, bias: bool) -> Model[Floats2d, Floats2d]:
    return gated(Linear(nO, nI, bias=bias), Swish(nO, nI, bias=bias))


_FIRST_LAYERS: dict[str, Maker] = {"relu": Relu, "gelu": Gelu, "swiglu": _swiglu}


def _named(what: str, name: str, makers: dict[str, Maker]) -> Maker:
    if name not in makers:
        raise InputError(f"expected one of {', '.join(makers)} as {what}, got {name!r}")
    return makers[name]


def TransformerEncoder(
    nO: int,
    *,
    heads: int = 4,
    hidden: int | None = None,
    depth: int = 1,
    causal: bool = False,
    pre_norm: bool = True,
    activation: str = "gelu",
    norm: str = "layer",
    eps: float = 1e-5,
    rotary: bool = False,
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Transformer blocks of self-attention and a feed-forward layer with residual connections.

    The input and the output are arrays of floats (n, nO). Inside `with_flatten` or `with_array`,
    rows attend only to rows of their own sequence. Otherwise the array is one sequence. Each branch
    ends with `Dropout()`, which uses the argument `drop` of `begin_update`.

    Args:
        nO: Number of input and output columns, divisible by the number of heads.
        heads: Number of heads, at least 1.
        hidden: Number of columns inside the feed-forward layer. 4 * nO if None.
        depth: Number of blocks.
        causal: Whether a row attends only to itself and to earlier rows.
        pre_norm: Whether to normalize the input of each branch. If False, the sum of each branch
            and its input is normalized instead.
        activation: "relu", "gelu" or "swiglu", see `FeedForward`.
        norm: "layer" for `LayerNorm` or "rms" for `RMSNorm`.
        eps: Number that is added to the variance or to the mean square in a norm, above 0.
        rotary: Whether to rotate queries and keys of self-attention by their positions, see
            `self_attention`.
        bias: Whether to add biases in the affine maps and norms.

    Raises:
        InputError: If `activation` or `norm` has another value, if `eps` is not above 0, or if
            `heads` is below 1.
        DimensionError: If nO is not divisible by `heads`, or with `rotary` by 2 * heads.

    Example:
        >>> import numpy as np
        >>> from combinet import with_flatten
        >>> encoder = with_flatten(TransformerEncoder(8, heads=2, depth=2)).initialize()
        >>> docs = [np.ones((3, 8), dtype="float32"), np.ones((5, 8), dtype="float32")]
        >>> [Y.shape for Y in encoder.predict(docs)]
        [(3, 8), (5, 8)]

    Source: Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745, for
    `pre_norm`.
    """
    attention = MultiHeadAttention(nO, nO, heads=heads, causal=causal, rotary=rotary, bias=bias)
    maps = FeedForward(nO, nO, hidden=hidden, activation=activation, bias=bias)
    normalize = _normalizer(norm, nO, eps, bias)
    first, second = (_with_residual(layer, normalize, pre_norm) for layer in (attention, maps))
    return clone(first >> second, depth)


def _normalizer(norm: str, nO: int, eps: float, bias: bool) -> Maker:
    """Returns a function that makes a normalization layer with new weights."""
    layer, rms = partial(LayerNorm, nO, eps=eps, bias=bias), partial(RMSNorm, nO, eps=eps)
    return _named("norm", norm, {"layer": layer, "rms": rms})


def _with_residual(
    layer: Model[Floats2d, Floats2d], normalize: Maker, pre_norm: bool
) -> Model[Floats2d, Floats2d]:
    """Adds dropout, normalization and a residual connection to a layer."""
    branch = layer >> Dropout()
    return residual(normalize() >> branch) if pre_norm else residual(branch) >> normalize()


def TransformerDecoder(
    nO: int,
    nM: int | None = None,
    *,
    heads: int = 4,
    hidden: int | None = None,
    depth: int = 1,
    pre_norm: bool = True,
    activation: str = "gelu",
    norm: str = "layer",
    eps: float = 1e-5,
    rotary: bool = False,
    bias: bool = True,
) -> Model[tuple[Any, Any], Any]:
    """Transformer blocks of causal self-attention, attention to a memory and a feed-forward layer.

    The input is a tuple of two batches: lists of arrays, Ragged or Padded. The first has sequences
    (n_i, nO), the second, the memory, as many sequences (m_i, nM). The output has sequences (n_i,
    nO) and the kind of the first batch. Every block receives the same memory. Rows attend to
    themselves and to earlier rows of their sequence, and to the rows of its memory. Each branch
    ends with `Dropout()`, which uses the argument `drop` of `begin_update`.

    To compute the memory with an encoder, apply it with `with_getitem` to a tuple (target, source),
    as in the example.

    Args:
        nO: Number of input and output columns, divisible by the number of heads.
        nM: Number of columns of the memory. Inferred from the previous layer or from a sample if
            None.
        heads: Number of heads, at least 1.
        hidden: Number of columns inside the feed-forward layer. 4 * nO if None.
        depth: Number of blocks.
        pre_norm: Whether to normalize the input of each branch. If False, the sum of each branch
            and its input is normalized instead.
        activation: "relu", "gelu" or "swiglu", see `FeedForward`.
        norm: "layer" for `LayerNorm` or "rms" for `RMSNorm`.
        eps: Number that is added to the variance or to the mean square in a norm, above 0.
        rotary: Whether to rotate queries and keys of self-attention by their positions, see
            `self_attention`.
        bias: Whether to add biases in the affine maps and norms.

    Raises:
        InputError: If `activation` or `norm` has another value, if `eps` is not above 0, or if
            `heads` is below 1.
        DimensionError: If nO is not divisible by `heads`, or with `rotary` by 2 * heads, or if the
            numbers of sequences differ.

    Example:
        >>> import numpy as np
        >>> from combinet import with_array, with_getitem
        >>> encoder, decoder = TransformerEncoder(8, heads=2), TransformerDecoder(8, heads=2)
        >>> model = (with_getitem(1, with_array(encoder)) >> decoder).initialize(dtype="float64")
        >>> target, source = [np.ones((3, 8)), np.ones((1, 8))], [np.ones((2, 8)), np.ones((5, 8))]
        >>> [Y.shape for Y in model.predict((target, source))]
        [(3, 8), (1, 8)]

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.1; Xiong et al. 2020, arXiv:2002.04745,
    for `pre_norm`.
    """
    itself = MultiHeadAttention(nO, nO, heads=heads, causal=True, rotary=rotary, bias=bias)
    maps = FeedForward(nO, nO, hidden=hidden, activation=activation, bias=bias)
    memory = CrossAttention(nO, nO, nM, heads=heads, bias=bias)
    normalize = _normalizer(norm, nO, eps, bias)
    block = (
        with_getitem(0, with_array(_with_residual(itself, normalize, pre_norm)))
        >> tuplify(_memory_with_residual(memory, normalize, pre_norm), tuple_getitem(1))
        >> with_getitem(0, with_array(_with_residual(maps, normalize, pre_norm)))
    )
    return with_ragged(clone(block, depth) >> tuple_getitem(0))


def _memory_with_residual(
    attention: Model[tuple[Any, Any], Any], normalize: Maker, pre_norm: bool
) -> Model[tuple[Any, Any], Any]:
    """Adds dropout, normalization and a residual connection to attention to a memory."""
    branch, normalized = attention >> with_array(Dropout()), with_array(normalize())
    if pre_norm:
        return add(tuple_getitem(0), with_getitem(0, normalized) >> branch)
    return add(tuple_getitem(0), branch) >> normalized

"""The transformer's blocks, composed of attention, feed-forward layers and residual paths."""

from __future__ import annotations

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
    """An affine map, an activation, another affine map, of each row by itself.

    X (n, nI) -> Y (n, nO). `hidden` is the width between the maps, 4 * nO if not given. With
    "relu" and "gelu" it is Y = f(X @ W.T + b) @ U.T + c, Vaswani et al. 2017, arXiv:1706.03762,
    equation 2; with "swiglu" the first part is `gated(Linear(hidden), Swish(hidden))`, Shazeer
    2020, arXiv:2002.05202, equation 6 (which has no biases: `bias=False`): two thirds of the width
    make as many weights. `Dropout()` stands before the last map. Raises InputError for another
    activation.

    Example:
        >>> FeedForward(2, 2, activation="swiglu")
        chain: no parameters, not initialized
          gated
            linear  nI=2 nO=8
            swish   nI=2 nO=8
          dropout
          linear    nI=8 nO=2
    """
    inner = 4 * nO if hidden is None else hidden
    make = _named("activation", activation, _FIRST_LAYERS)
    return make(inner, nI, bias=bias) >> Dropout() >> Linear(nO, inner, bias=bias)


def _swiglu(nO: int, nI: int | None, *, bias: bool) -> Model[Floats2d, Floats2d]:
    return gated(Linear(nO, nI, bias=bias), Swish(nO, nI, bias=bias))


_FIRST_LAYERS: dict[str, Maker] = {"relu": Relu, "gelu": Gelu, "swiglu": _swiglu}


def _named(what: str, name: str, makers: dict[str, Maker]) -> Maker:
    if name not in makers:
        raise InputError(f"the {what} is one of {', '.join(makers)}, not {name!r}")
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
    """Blocks of self-attention and a feed-forward layer, each beside a residual path.

    X (n, nO) -> Y (n, nO), rows attending as `self_attention` says; `causal` and `rotary` are its
    settings. `hidden` and `activation` are those of `FeedForward`; `norm` is "layer" for
    `LayerNorm` or "rms" for `RMSNorm`, with their `eps`. With `pre_norm` it stands before attention
    and feed-forward layer (Xiong et al. 2020, arXiv:2002.04745), else after each sum (Vaswani et
    al. 2017). Each branch ends with `Dropout()`, for `drop` in training. Without `bias` no map and
    no norm has a b.

    Example:
        >>> import numpy as np
        >>> from combinet import with_flatten
        >>> encoder = with_flatten(TransformerEncoder(8, heads=2, depth=2)).initialize()
        >>> docs = [np.ones((3, 8), dtype="float32"), np.ones((5, 8), dtype="float32")]
        >>> [Y.shape for Y in encoder.predict(docs)]
        [(3, 8), (5, 8)]
    """
    attention = MultiHeadAttention(nO, nO, heads=heads, causal=causal, rotary=rotary, bias=bias)
    maps = FeedForward(nO, nO, hidden=hidden, activation=activation, bias=bias)
    normalize = _normalizer(norm, nO, eps, bias)
    first, second = (_with_residual(layer, normalize, pre_norm) for layer in (attention, maps))
    return clone(first >> second, depth)


def _normalizer(norm: str, nO: int, eps: float, bias: bool) -> Maker:
    """A maker of normalizing layers, each with weights of its own."""
    layer, rms = partial(LayerNorm, nO, eps=eps, bias=bias), partial(RMSNorm, nO, eps=eps)
    return _named("norm", norm, {"layer": layer, "rms": rms})


def _with_residual(
    layer: Model[Floats2d, Floats2d], normalize: Maker, pre_norm: bool
) -> Model[Floats2d, Floats2d]:
    """A layer beside a residual path."""
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
    """Blocks of causal self-attention, attention to a memory and a feed-forward layer.

    X tuple of two batches, lists of arrays, Ragged or Padded: sequences of (n_i, nO), and as many
    of (m_i, nM), the memory of each -> Y of (n_i, nO), in the form of the first. The memory goes
    into every block as it is. Rows attend as in `self_attention`, which `rotary` is for, and in
    `CrossAttention`; the rest is as in `TransformerEncoder`. Vaswani et al. 2017,
    arXiv:1706.03762, section 3.1.

    An encoder gives a decoder its memory by `with_getitem`, on tuples (target, source).

    Example:
        >>> import numpy as np
        >>> from combinet import with_array, with_getitem
        >>> encoder, decoder = TransformerEncoder(8, heads=2), TransformerDecoder(8, heads=2)
        >>> model = (with_getitem(1, with_array(encoder)) >> decoder).initialize(dtype="float64")
        >>> target, source = [np.ones((3, 8)), np.ones((1, 8))], [np.ones((2, 8)), np.ones((5, 8))]
        >>> [Y.shape for Y in model.predict((target, source))]
        [(3, 8), (1, 8)]
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
    """Attention to a memory beside a residual path."""
    branch, normalized = attention >> with_array(Dropout()), with_array(normalize())
    if pre_norm:
        return add(tuple_getitem(0), with_getitem(0, normalized) >> branch)
    return add(tuple_getitem(0), branch) >> normalized

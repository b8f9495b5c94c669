"""Self-attention with several heads, and the transformer's blocks made of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.combinators import chain, clone, residual
from combinet.errors import DimensionError, InputError
from combinet.layers.activations import gelu
from combinet.layers.dropout import Dropout
from combinet.layers.layer_norm import LayerNorm
from combinet.layers.linear import Linear
from combinet.model import Model
from combinet.ops.sequence import positions
from combinet.run import Run
from combinet.types import Floats2d
from combinet.widths import Parts, Widths, same_widths


def attend(heads: int, *, causal: bool = False) -> Model[Floats2d, Floats2d]:
    """Scaled dot-product attention within each sequence, in several heads: softmax(QK'/sqrt d) V.

    X (n, 3 * nO), the columns of queries, keys and values, each head by head -> Y (n, nO).
    Inside `with_flatten` or `with_array` rows attend to rows of their own sequence alone, and an
    array by itself is one sequence; padding costs nothing, since there is none. With `causal` a
    row attends to itself and those before it. Vaswani et al. 2017, arXiv:1706.03762, equation 1.
    Raises DimensionError if the columns don't divide by 3 * heads.

    Example:
        >>> import numpy as np
        >>> attend(1).predict(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
        array([[2.],
               [2.]])
        >>> attend(1, causal=True).predict(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
        array([[1.],
               [2.]])
    """
    if heads < 1:
        raise InputError(f"attend takes 1 head or more, not {heads!r}")
    attrs = {"heads": heads, "causal": causal}
    return Model("attend", _attend, attrs=attrs, takes="floats2d", widths=_attend_widths)


def _attend(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    heads, causal = model.attrs["heads"], model.attrs["causal"]
    if X.shape[1] % (3 * heads):
        raise DimensionError(
            f"attend takes queries, keys and values in {heads} heads, "
            f"so a multiple of {3 * heads} columns, not {X.shape[1]}"
        )
    Y, kept = run.ops.attention(X, run.lengths_of(X), heads, causal)

    def backprop(dY: Floats2d) -> Floats2d:
        return run.ops.backprop_attention(dY, kept)

    return Y, backprop


def _attend_widths(model: Any, nI: Any, nO: Any, solve: Any) -> Widths:
    width = nO if nI is None else nI // 3
    if width is None:
        return None, None
    if width % model.attrs["heads"] or nI not in (None, 3 * width):
        raise DimensionError(
            f"attend takes 3 times as many columns as it gives, which {model.attrs['heads']} "
            f"heads share evenly, not {nI} for {width}"
        )
    return Parts([width] * 3), solve.same(model, width, nO)


def MultiHeadAttention(
    nO: int, nI: int | None = None, *, heads: int = 4, causal: bool = False
) -> Model[Floats2d, Floats2d]:
    """Self-attention: queries, keys and values from one affine map, `attend`, another affine map.

    X (n, nI) -> Y (n, nO), rows attending as `attend` says. It is a chain of `Linear`, `attend`
    and `Linear`. Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. Raises DimensionError if
    the heads don't share nO evenly.

    Example:
        >>> MultiHeadAttention(8, 8, heads=2)
        chain: no parameters, not initialized
          linear  nI=8 nO=24
          attend
          linear  nI=8 nO=8
    """
    return chain(Linear(3 * nO, nI), attend(heads, causal=causal), Linear(nO, nO))


def TransformerEncoder(
    nO: int,
    *,
    heads: int = 4,
    hidden: int | None = None,
    depth: int = 1,
    causal: bool = False,
    pre_norm: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Blocks of self-attention and of two affine maps with a gelu, each beside a residual path.

    X (n, nO) -> Y (n, nO), rows attending as `attend` says. `hidden` is the width between the two
    maps, 4 * nO if not given. With `pre_norm` layer norm stands before attention and maps (Xiong
    et al. 2020, arXiv:2002.04745), else after each sum (Vaswani et al. 2017). Each branch ends
    with `Dropout()`, for `drop` in training.

    Example:
        >>> import numpy as np
        >>> from combinet import with_flatten
        >>> encoder = with_flatten(TransformerEncoder(8, heads=2, depth=2)).initialize()
        >>> docs = [np.ones((3, 8), dtype="float32"), np.ones((5, 8), dtype="float32")]
        >>> [Y.shape for Y in encoder.predict(docs)]
        [(3, 8), (5, 8)]
    """
    attention = MultiHeadAttention(nO, nO, heads=heads, causal=causal) >> Dropout()
    maps = Linear(hidden or 4 * nO, nO) >> gelu() >> Linear(nO) >> Dropout()
    if pre_norm:
        block = residual(LayerNorm(nO) >> attention) >> residual(LayerNorm(nO) >> maps)
    else:
        block = residual(attention) >> LayerNorm(nO) >> residual(maps) >> LayerNorm(nO)
    return clone(block, depth)


def sinusoidal_positions() -> Model[Floats2d, Floats2d]:
    """Adds to each row what tells its place in its sequence: sines and cosines of it.

    X (n, nI) -> Y (n, nI). Y[p, 2i] = X[p, 2i] + sin(p / 10000^(2i/nI)), and the cosine in the
    odd columns; p counts from 0 in each sequence. Vaswani et al. 2017, arXiv:1706.03762, 3.5.

    Example:
        >>> import numpy as np
        >>> sinusoidal_positions().predict(np.zeros((2, 2))).round(3)
        array([[0.   , 1.   ],
               [0.841, 0.54 ]])
    """
    return Model("sinusoidal_positions", _positions, takes="floats2d", widths=same_widths)


def _positions(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    columns = np.arange(X.shape[1])
    angles = positions(run.lengths_of(X))[:, None] / 10000.0 ** (columns // 2 * 2 / len(columns))
    waves = np.where(columns % 2, np.cos(angles), np.sin(angles))
    return X + run.ops.asarray(waves, X.dtype), lambda dY: dY

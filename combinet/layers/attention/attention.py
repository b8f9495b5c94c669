"""Attention in several heads: of the rows of a sequence to one another, or to a memory's."""

from __future__ import annotations

from typing import Any

from combinet.batches.ragged import Ragged
from combinet.combinators.compose import chain
from combinet.combinators.tuples import pair, with_getitem
from combinet.combinators.with_batches import with_array, with_ragged
from combinet.core.inputs import INPUT_KINDS
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_inference import ConcatWidth, ShapeInference, Width, Widths, item
from combinet.errors import DimensionError, InputError, describe
from combinet.layers.dense.linear import Linear
from combinet.types import Floats2d


def self_attention(
    heads: int, *, causal: bool = False, rotary: bool = False
) -> Model[Floats2d, Floats2d]:
    """Scaled dot-product attention within each sequence, in several heads: softmax(QK'/sqrt d) V.

    X (n, 3 * nO), the columns of queries, keys and values, each head by head -> Y (n, nO).
    Inside `with_flatten` or `with_array` rows attend to rows of their own sequence alone, and an
    array by itself is one sequence; padding costs nothing, since there is none. With `causal` a
    row attends to itself and those before it. Vaswani et al. 2017, arXiv:1706.03762, equation 1.

    With `rotary` queries and keys are turned by angles that grow with their place in the sequence,
    from 0 on, so that a score depends on the distance of two rows. Columns i and i + d / 2 of a
    head of d columns are turned together, as in GPT-NeoX and LLaMA, by p * 10000^(-2i/d). Su et
    al. 2021, arXiv:2104.09864, equation 34, which pairs neighbours.

    Raises DimensionError if the columns don't divide by 3 * heads, with `rotary` by 6 * heads.

    Example:
        >>> import numpy as np
        >>> self_attention(1).predict(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
        array([[2.],
               [2.]])
        >>> self_attention(1, causal=True).predict(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
        array([[1.],
               [2.]])
    """
    attrs = {"heads": _at_least_one("self_attention", heads), "causal": causal, "rotary": rotary}
    return Model(
        "self_attention", _self_attention, attrs=attrs, accepts="floats2d", widths=_self_widths
    )


def _at_least_one(name: str, heads: int) -> int:
    if heads < 1:
        raise InputError(f"{name} takes 1 head or more, not {heads!r}")
    return heads


def _self_attention(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    heads, causal, rotary = (model.attrs[name] for name in ("heads", "causal", "rotary"))
    _check_columns(model, X.shape[1])
    ops, lengths, nO = run.ops, run.lengths_of(X), X.shape[1] // 3
    QK, V = X[:, : 2 * nO], X[:, 2 * nO :]
    if rotary:
        QK = ops.rotate(QK, lengths, 2 * heads)
    Y, saved = ops.attention(QK[:, :nO], QK[:, nO:], V, (lengths, lengths), heads, causal)

    def backprop(dY: Floats2d) -> Any:
        dX: Any = ops.zeros((len(dY), 3 * nO), dY.dtype)
        dQK, dV = dX[:, : 2 * nO], dX[:, 2 * nO :]
        ops.backprop_attention(dY, saved, dQK[:, :nO], dQK[:, nO:], dV)
        if rotary:
            dQK[...] = ops.rotate(dQK, lengths, 2 * heads, back=True)
        return dX

    return Y, backprop


def _check_columns(model: Model[Any, Any], nI: int) -> None:
    heads, even = model.attrs["heads"], model.attrs["rotary"]
    multiple = 3 * heads * (2 if even else 1)
    if nI % multiple:
        raise DimensionError(
            f"{model.name} takes queries, keys and values in {heads} heads"
            f"{' of an even width' * even}, so a multiple of {multiple} columns, not {nI}"
        )


def _self_widths(model: Any, nI: Any, nO: Any, infer: Any) -> Widths:
    if nI is None and nO is None:
        return None, None
    width = nO if nI is None else nI // 3
    _check_columns(model, 3 * nO if nI is None else nI)
    return ConcatWidth([width] * 3), infer.same(model, width, nO)


def MultiHeadAttention(
    nO: int,
    nI: int | None = None,
    *,
    heads: int = 4,
    causal: bool = False,
    rotary: bool = False,
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Self-attention: queries, keys and values from one affine map, `self_attention`, another map.

    X (n, nI) -> Y (n, nO), rows attending as `self_attention` says. It is a chain of `Linear`,
    `self_attention` and `Linear`, the maps without b unless `bias`. Vaswani et al. 2017,
    arXiv:1706.03762, section 3.2.2. Raises DimensionError if the heads don't share nO evenly.

    Example:
        >>> MultiHeadAttention(8, 8, heads=2)
        chain: no parameters, not initialized
          linear          nI=8 nO=24
          self_attention
          linear          nI=8 nO=8
    """
    return chain(
        Linear(3 * nO, nI, bias=bias),
        self_attention(heads, causal=causal, rotary=rotary),
        Linear(nO, nO, bias=bias),
    )


def cross_attention(heads: int) -> Model[tuple[Ragged, Ragged], Ragged]:
    """Scaled dot-product attention of each sequence to its memory: softmax(QK'/sqrt d) V.

    X tuple of Ragged with (n, nO), queries, and with (m, 2 * nO), the columns of keys, then of
    values, each head by head -> Y Ragged with (n, nO). Sequence i attends to sequence i of the
    second, whatever its length; one that is empty gives zeros. Vaswani et al. 2017,
    arXiv:1706.03762, equation 1. Raises DimensionError unless both have as many sequences, and
    columns that the heads share evenly, InputError unless both are floats of one dtype.

    Example:
        >>> import numpy as np
        >>> queries = Ragged(np.zeros((3, 1)), [1, 2])
        >>> keys_and_values = Ragged(np.array([[0.0, 2.0], [0.0, 4.0]]), [2, 0])
        >>> cross_attention(1).predict((queries, keys_and_values)).data.tolist()
        [[3.0], [0.0], [0.0]]
    """
    attrs = {"heads": _at_least_one("cross_attention", heads)}
    return Model("cross_attention", _cross_attention, attrs=attrs, widths=_cross_widths)


def _cross_attention(model: Model[Any, Any], X: tuple[Ragged, Ragged], run: Run) -> Any:
    heads, ops = model.attrs["heads"], run.ops
    if not all(INPUT_KINDS["ragged2d"].fits(each, ops) for each in pair(model, X)):
        raise InputError(
            f"{model.name} takes a tuple of two Ragged with floats (total, nI), not {describe(X)}"
        )
    Q, KV = X
    if Q.data.dtype != KV.data.dtype:
        raise InputError(f"{model.name} takes a memory of its queries' dtype, not {describe(X)}")
    nO, lengths, shapes = Q.data.shape[1], (Q.lengths, KV.lengths), (Q.data.shape, KV.data.shape)
    if len(Q) != len(KV):
        raise DimensionError(
            f"{model.name} takes a memory for each of {len(Q)} sequences, not {len(KV)} of them"
        )
    _check_memory(model, nO, KV.data.shape[1])
    Y, saved = ops.attention(Q.data, KV.data[:, :nO], KV.data[:, nO:], lengths, heads)

    def backprop(dY: Ragged) -> tuple[Ragged, Ragged]:
        dQ, dKV = (ops.zeros(shape, dY.data.dtype) for shape in shapes)
        ops.backprop_attention(dY.data, saved, dQ, dKV[:, :nO], dKV[:, nO:])
        return Ragged(dQ, lengths[0]), Ragged(dKV, lengths[1])

    return Ragged(Y, lengths[0]), backprop


def _check_memory(model: Model[Any, Any], nO: int, nKV: int) -> None:
    if nO % model.attrs["heads"] or nKV != 2 * nO:
        raise DimensionError(
            f"{model.name} takes queries, and keys and values of twice their width, in "
            f"{model.attrs['heads']} heads, not {nO} and {nKV} columns"
        )


def _cross_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    both: Any = item(nI, 1)  # keys and values
    width: Any = infer.same(model, item(nI, 0), nO, None if both is None else both // 2)
    if width is None:
        return None, None
    _check_memory(model, width, both or 2 * width)
    return (width, ConcatWidth([width] * 2)), width


def CrossAttention(
    nO: int, nI: int | None = None, nM: int | None = None, *, heads: int = 4, bias: bool = True
) -> Model[tuple[Any, Any], Any]:
    """Attention to a memory: queries from one batch of sequences, keys and values from another.

    X tuple of two batches, lists of arrays, Ragged or Padded: sequences of (n_i, nI), and as many
    of (m_i, nM), the memory of each -> Y of (n_i, nO), in the form of the first. Padding takes no
    part. A memory may be empty: then its rows get the last map's bias alone. It is made of
    `Linear` for queries, `Linear` for keys and values, `cross_attention`, `Linear`, the maps
    without b unless `bias`. Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3. Raises
    DimensionError if the heads don't share nO evenly, or the numbers of sequences differ.

    Example:
        >>> import numpy as np
        >>> layer = CrossAttention(8, 4, 6, heads=2).initialize(dtype="float64")
        >>> X, memory = [np.ones((3, 4)), np.ones((1, 4))], [np.ones((2, 6)), np.ones((5, 6))]
        >>> [Y.shape for Y in layer.predict((X, memory))]
        [(3, 8), (1, 8)]
    """
    return with_ragged(
        chain(
            with_getitem(0, with_array(Linear(nO, nI, bias=bias))),
            with_getitem(1, with_array(Linear(2 * nO, nM, bias=bias))),
            cross_attention(heads),
            with_array(Linear(nO, nO, bias=bias)),
        )
    )

"""Attention in several heads: within a sequence, or from a sequence to a memory."""

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
from combinet.types import Floats2d, is_size


def self_attention(
    heads: int, *, causal: bool = False, rotary: bool = False
) -> Model[Floats2d, Floats2d]:
    """Scaled dot-product attention within each sequence: softmax(Q K' / sqrt(d)) V in each head.

    The input is an array of floats (n, 3 * nO): the columns of the queries Q, the keys K and the
    values V, each head by head. The output is an array (n, nO). d is the width of a head. Inside
    `with_flatten` or `with_array`, rows attend only to rows of their own sequence, and nothing is
    computed for padding. Otherwise the array is one sequence.

    Args:
        heads: Number of heads, at least 1.
        causal: Whether a row attends only to itself and to earlier rows.
        rotary: Whether to rotate queries and keys by angles that grow with the position p in the
            sequence, so that a score depends on the distance of two rows. The angle of columns i
            and i + d / 2 of a head is p * 10000^(-2i/d). GPT-NeoX and LLaMA pair the same columns;
            the paper pairs neighbors.

    Raises:
        InputError: If `heads` is below 1.
        DimensionError: If the number of columns is not divisible by 3 * heads, or with `rotary` by
            6 * heads.

    Example:
        >>> import numpy as np
        >>> self_attention(1).predict(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
        array([[2.],
               [2.]])
        >>> self_attention(1, causal=True).predict(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
        array([[1.],
               [2.]])

    Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1; Su et al. 2021, arXiv:2104.09864,
    equation 34, for `rotary`.
    """
    attrs = {"heads": _at_least_one("self_attention", heads), "causal": causal, "rotary": rotary}
    return Model(
        "self_attention", _self_attention, attrs=attrs, accepts="floats2d", widths=_self_widths
    )


def _at_least_one(name: str, heads: int) -> int:
    if not is_size(heads):
        raise InputError(f"{name} expected a positive int for heads, got {heads!r}")
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
            f"{model.name} expected a multiple of {multiple} columns, for queries, keys and values "
            f"in {heads} heads{' of even width' * even}, got {nI}"
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
    """Self-attention with trained maps: an affine map, `self_attention`, and another affine map.

    The input is an array of floats (n, nI), the output an array (n, nO). The layer is a chain of
    `Linear`, `self_attention` and `Linear`. Inside `with_flatten` or `with_array`, rows attend only
    to rows of their own sequence. Otherwise the array is one sequence.

    Args:
        nO: Number of output columns, divisible by the number of heads.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        heads: Number of heads, at least 1.
        causal: Whether a row attends only to itself and to earlier rows.
        rotary: Whether to rotate queries and keys by their positions, see `self_attention`.
        bias: Whether to add biases in the affine maps.

    Raises:
        InputError: If `heads` is below 1.
        DimensionError: If nO is not divisible by `heads`, or with `rotary` by 2 * heads.

    Example:
        >>> MultiHeadAttention(8, 8, heads=2)
        chain: no parameters, not initialized
          linear          nI=8 nO=24
          self_attention
          linear          nI=8 nO=8

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
    """
    return chain(
        Linear(3 * nO, nI, bias=bias),
        self_attention(heads, causal=causal, rotary=rotary),
        Linear(nO, nO, bias=bias),
    )


def cross_attention(heads: int) -> Model[tuple[Ragged, Ragged], Ragged]:
    """Scaled dot-product attention to a memory: softmax(Q K' / sqrt(d)) V in each head.

    The input is a tuple of two Ragged: the queries Q (n, nO), and the memory (m, 2 * nO) with the
    columns of the keys K, then of the values V, each head by head. The output is Ragged (n, nO). d
    is the width of a head. Sequence i of the queries attends to sequence i of the memory, which may
    have another length. Rows whose memory is empty return zeros.

    Args:
        heads: Number of heads, at least 1.

    Raises:
        InputError: If `heads` is below 1, or if X is not a tuple of two Ragged with floats of the
            same dtype.
        DimensionError: If the numbers of sequences differ, if nO is not divisible by `heads`, or if
            the memory does not have 2 * nO columns.

    Example:
        >>> import numpy as np
        >>> queries = Ragged(np.zeros((3, 1)), [1, 2])
        >>> keys_and_values = Ragged(np.array([[0.0, 2.0], [0.0, 4.0]]), [2, 0])
        >>> cross_attention(1).predict((queries, keys_and_values)).data.tolist()
        [[3.0], [0.0], [0.0]]

    Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1.
    """
    attrs = {"heads": _at_least_one("cross_attention", heads)}
    return Model("cross_attention", _cross_attention, attrs=attrs, widths=_cross_widths)


def _cross_attention(model: Model[Any, Any], X: tuple[Ragged, Ragged], run: Run) -> Any:
    heads, ops = model.attrs["heads"], run.ops
    if not all(INPUT_KINDS["ragged2d"].fits(each, ops) for each in pair(model, X)):
        raise InputError(f"{model.name} expected two Ragged with floats (n, nI), got {describe(X)}")
    Q, KV = X
    if Q.data.dtype != KV.data.dtype:
        raise InputError(f"{model.name} expected both inputs in one dtype, got {describe(X)}")
    nO, lengths, shapes = Q.data.shape[1], (Q.lengths, KV.lengths), (Q.data.shape, KV.data.shape)
    if len(Q) != len(KV):
        raise DimensionError(
            f"{model.name} expected a memory for each of {len(Q)} sequences, got {len(KV)} memories"
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
            f"{model.name} expected queries in {model.attrs['heads']} heads, and keys and values "
            f"of twice their width, got {nO} and {nKV} columns"
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
    """Attention with trained maps from one batch of sequences (queries) to another (memory).

    The input is a tuple of two batches: lists of arrays, Ragged or Padded. The first has sequences
    (n_i, nI), the second as many sequences (m_i, nM). The output has sequences (n_i, nO) and the
    kind of the first batch. Sequence i attends to sequence i of the memory. Rows whose memory is
    empty return the bias of the last map. Nothing is computed for padding.

    The layer consists of a `Linear` for the queries, a `Linear` for the keys and values,
    `cross_attention`, and a `Linear` for the output.

    Args:
        nO: Number of output columns, divisible by the number of heads.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        nM: Number of columns of the memory. Inferred from the previous layer or from a sample if
            None.
        heads: Number of heads, at least 1.
        bias: Whether to add biases in the affine maps.

    Raises:
        InputError: If `heads` is below 1.
        DimensionError: If nO is not divisible by `heads`, or if the numbers of sequences differ.

    Example:
        >>> import numpy as np
        >>> layer = CrossAttention(8, 4, 6, heads=2).initialize(dtype="float64")
        >>> X, memory = [np.ones((3, 4)), np.ones((1, 4))], [np.ones((2, 6)), np.ones((5, 6))]
        >>> [Y.shape for Y in layer.predict((X, memory))]
        [(3, 8), (1, 8)]

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3.
    """
    return with_ragged(
        chain(
            with_getitem(0, with_array(Linear(nO, nI, bias=bias))),
            with_getitem(1, with_array(Linear(2 * nO, nM, bias=bias))),
            cross_attention(heads),
            with_array(Linear(nO, nO, bias=bias)),
        )
    )

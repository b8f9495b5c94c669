"""The log-likelihood of whole sequences of labels, under a conditional random field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.data import Ragged, check_list, map_arrays
from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss, scale_of
from combinet.losses.targets import Classes
from combinet.ops import Ops, get_array_ops
from combinet.ops.sequence import by_step
from combinet.types import Floats, Floats1d, Floats2d, Ints1d

Chain: TypeAlias = "tuple[Any, Floats2d, Floats1d, Floats1d]"  # scores, T, start, end


class CRFLoss(Loss):
    """-log of the probability of each sequence's true labels, under a `CRF`.

    `loss(guesses, truths)` returns (gradient, value): guesses are what `CRF` gives, a tuple of the
    labels' scores (list of (n_i, k) or Ragged), T (k, k), start (k,) and end (k,), and so is the
    gradient. `truths` are for each sequence its label numbers (n_i,), from 0 to k - 1, none of them
    missing, on the host or the device; with `names`, the labels by column, a list of names. With
    `normalize` both are divided by the number of sequences, else they are sums.

    Lafferty, McCallum and Pereira 2001, "Conditional random fields". Raises DimensionError or
    InputError if guesses and truths don't match.

    Example:
        >>> import numpy as np
        >>> from combinet import CRF, CRFLoss
        >>> Y, backprop = CRF(2).initialize(dtype="float64").begin_update([np.zeros((3, 2))])
        >>> gradient, value = CRFLoss()(Y, [[0, 1, 1]])
        >>> bool(np.isclose(value, np.log(2**3)))  # one of 8 ways that are alike
        True
        >>> backprop(gradient)
        [array([[-0.5,  0.5],
               [ 0.5, -0.5],
               [ 0.5, -0.5]])]
    """

    def __init__(self, *, normalize: bool = True, names: Sequence[str] | None = None) -> None:
        self.normalize = normalize
        self.classes = Classes(names, None, None, 0.0)

    def __call__(self, guesses: Chain, truths: Sequence[Any]) -> tuple[Chain, Floats]:
        """The gradient and the value."""
        packed = PackedChain.of("CRFLoss", guesses)
        ops, lengths = packed.ops, packed.lengths
        given: Any = describe(truths)
        if hasattr(truths, "__len__"):
            given = [len(truth) if hasattr(truth, "__len__") else None for truth in truths]
        if given != lengths.tolist():
            raise DimensionError(
                f"labels are for sequences of the lengths {lengths.tolist()}, not {given}"
            )
        codes = self.classes.read([truth for truth in truths if len(truth)], ops)
        if codes.ndim != 1:
            raise InputError(f"CRFLoss takes the labels of each sequence, not {describe(codes)}")
        if isinstance(codes, np.ndarray) and np.isnan(codes).any():
            raise InputError("CRFLoss takes a label for each row, not None")
        labels, _ = self.classes.targets(packed.unpack(packed.X), codes, ops)
        value, (dX, dT, d_start, d_end) = ops.crf_loss(
            packed.X, packed.pack(labels), *guesses[1:], packed.sizes
        )
        scale = scale_of(self.normalize, len(lengths))
        scores = packed.like(guesses[0], dX * scale)
        return (scores, dT * scale, d_start * scale, d_end * scale), value * scale


class PackedChain(NamedTuple):
    """What `CRF` gives, with the rows of all sequences step after step: see `ops/crf.py`."""

    ops: Ops
    X: Floats2d
    rows: Ints1d
    sizes: Ints1d
    lengths: Ints1d

    @classmethod
    def of(cls, name: str, chain: Any) -> PackedChain:
        """Raise InputError or DimensionError, in the name of `name`, for anything else."""
        if not isinstance(chain, tuple) or len(chain) != 4:
            raise InputError(f"{name} takes what CRF gives, a tuple of four, not {describe(chain)}")
        scores, T, *_ = chain
        if not isinstance(scores, Ragged):
            check_list(scores)
        ops = get_array_ops(T)
        lengths = scores.lengths if isinstance(scores, Ragged) else np.array([*map(len, scores)])
        lengths = lengths.astype("int64")
        if isinstance(scores, Ragged):
            flat = scores.data
        else:
            flat = ops.concatenate(list(scores)) if len(scores) else T[:0]
        k = T.shape[0]
        if flat.ndim != 2 or flat.shape[1] != k or T.shape != (k, k):
            raise DimensionError(
                f"{name} takes scores of as many labels as there are transitions, "
                f"{describe(T)}, not {describe(scores)}"
            )
        rows, sizes = by_step(lengths)
        return cls(ops, ops.unpad(flat, rows), rows, sizes, lengths)

    def pack(self, flat: Any) -> Any:
        """Rows of sequences one after the other, step after step."""
        return self.ops.unpad(flat, self.rows)

    def unpack(self, packed: Any) -> Any:
        """The opposite of `pack`."""
        return self.ops.pad(packed, self.rows, len(self.rows))

    def like(self, batch: Any, packed: Any) -> Any:
        """Packed rows as a batch of the form of `batch`."""
        flat = self.unpack(packed)
        if isinstance(batch, Ragged):
            return map_arrays(batch, lambda _: flat)
        return self.ops.split(flat, self.lengths)

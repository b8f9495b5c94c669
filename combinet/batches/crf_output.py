"""What `CRF` returns, checked and packed for `CRFLoss` and `viterbi`."""

from __future__ import annotations

from typing import Any, TypeAlias

from combinet.batches.convert import list_to_ragged
from combinet.batches.packed import TimeMajorOrder
from combinet.batches.ragged import Ragged
from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.types import Floats1d, Floats2d

CRFOutput: TypeAlias = "tuple[Any, Floats2d, Floats1d, Floats1d]"  # scores, T, start, end


def pack_scores(name: str, output: object) -> tuple[Floats2d, TimeMajorOrder]:
    """The packed scores, and their order. Raises InputError or DimensionError, naming `name`."""
    if not isinstance(output, tuple) or len(output) != 4:
        raise InputError(
            f"{name} expected the tuple of four that CRF returns, got {describe(output)}"
        )
    scores: Any = output[0]
    T: Any = output[1]
    if isinstance(scores, list | tuple) and not scores:
        flat = T[:0]
    else:
        flat = (scores if isinstance(scores, Ragged) else list_to_ragged(scores)).data
    if flat.ndim != 2 or T.shape != (flat.shape[1], flat.shape[1]):
        raise DimensionError(
            f"{name} takes scores of as many labels as there are transitions, "
            f"{describe(T)}, not {describe(scores)}"
        )
    order = TimeMajorOrder(scores, get_array_ops(T))
    return order.pack(flat), order

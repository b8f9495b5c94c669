"""Checks for your own layers: the invariants that every layer must satisfy.

    >>> import numpy as np
    >>> from combinet import Linear, expand_window, residual
    >>> layer = residual(expand_window(1) >> Linear(2))
    >>> report = check_layer(layer, np.random.default_rng(0).normal(size=(4, 2)))
    >>> str(report).splitlines()[0]
    'residual: 7 passed'

`combinet.testing.strategies` has Hypothesis strategies.

Imports errors, extras, ops, storage, types, batches, optimizers, core, combinators, layers.norm,
layers.dense, layers.embed, layers.sequence and layers.attention.
"""

from combinet.testing.check_layer import check_layer as check_layer
from combinet.testing.invariants import INVARIANTS as INVARIANTS
from combinet.testing.invariants import Invariant as Invariant
from combinet.testing.invariants import check_backprop as check_backprop
from combinet.testing.invariants import check_copy as check_copy
from combinet.testing.invariants import check_device as check_device
from combinet.testing.invariants import check_interleaved as check_interleaved
from combinet.testing.invariants import check_predict as check_predict
from combinet.testing.invariants import check_pure as check_pure
from combinet.testing.invariants import check_saving as check_saving
from combinet.testing.invariants import check_sums as check_sums
from combinet.testing.numbers import Finding as Finding
from combinet.testing.report import CheckError as CheckError
from combinet.testing.report import Report as Report
from combinet.testing.report import Result as Result

__all__ = [
    "INVARIANTS",
    "CheckError",
    "Finding",
    "Invariant",
    "Report",
    "Result",
    "check_backprop",
    "check_copy",
    "check_device",
    "check_interleaved",
    "check_layer",
    "check_predict",
    "check_pure",
    "check_saving",
    "check_sums",
]

"""The check of a layer: all invariants, with a report."""

from collections.abc import Collection
from typing import Any

import numpy as np

from combinet.core.model import Model
from combinet.errors import InputError, describe
from combinet.ops.base import Ops
from combinet.testing.invariants import INVARIANTS, Invariant, check_backprop
from combinet.testing.numbers import arrays_of
from combinet.testing.preparation import prepared
from combinet.testing.report import Report, run_checks


def check_layer(
    model: Model[Any, Any], X: Any, ops: Ops | None = None, *, skip: Collection[Invariant] = ()
) -> Report:
    """Runs every invariant on a model with a sample input, and reports each of them.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.
        skip: Invariants to leave out because the model violates them by design, or a dict from
            these to the reasons. A model that contains `BatchNorm` needs `skip=[check_predict]`,
            because it predicts from running statistics.

    Returns:
        A report with a line for each invariant: its outcome and the numbers measured.

    Raises:
        CheckError: If the model violates an invariant. It is an AssertionError, and its message is
            the text of the report.
        InputError: If X contains floats other than float64 and `check_backprop` is not
            skipped, or if `skip` contains anything but invariants.

    Example:
        >>> from combinet import BatchNorm
        >>> from combinet.testing import check_predict
        >>> X = np.random.default_rng(0).normal(size=(6, 3))
        >>> report = check_layer(BatchNorm(), X, skip={check_predict: "running statistics"})
        >>> report.results[2]
        Result(name='check_predict', outcome='skipped', details='running statistics')
    """
    single = any(a.dtype.kind == "f" and a.dtype != np.float64 for a in arrays_of(X))
    if single and check_backprop not in skip:
        raise InputError(f"check_layer expected floats in float64, got {describe(X)}")
    prepared(model, X, ops)  # an unsuitable sample is an error of the call, not of an invariant
    return run_checks(model.name, INVARIANTS, lambda check: check(model, X, ops), skip)

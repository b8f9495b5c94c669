"""`wants_dX=False` skips the input gradient and leaves the parameter gradients unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import combinet as cb
from cases import CASES, Case
from helpers.arrays import floats
from helpers.models import params_of, pending_gradients


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_parameter_gradients_do_not_depend_on_wants_dX(case: Case) -> None:
    model = case.make().copy()
    if not params_of(model):
        model.initialize(case.X, rng=0, dtype="float64")
    gradients, inputs = [], []
    for wants_dX in (True, False):
        twin = model.copy()
        rng = np.random.default_rng(1)
        Y, backprop = twin.begin_update(case.X, case.drop, rng=rng, wants_dX=wants_dX)
        inputs.append(backprop(Y))
        gradients.append(pending_gradients(twin))
    # Threads add their gradients in any order, and the order affects rounding.
    threaded = any(layer.name == "with_threads" for layer in model.walk())
    rtol, atol = (1e-12, 1e-14) if threaded else (0, 0)
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
    assert inputs[1] is None


def test_first_layers_skip_the_input_gradient() -> None:
    products: list[bool] = []

    class Counting(cb.NumpyOps):
        def backprop_affine(
            self, dY: Any, X: Any, W: Any, wants_dX: bool = True, wants_db: bool = True
        ) -> Any:
            products.append(wants_dX)
            return super().backprop_affine(dY, X, W, wants_dX, wants_db)

    lstm = cb.with_padded(cb.LSTM(4, bi=True, depth=2))
    tagger = cb.with_flatten(cb.Relu(3) | cb.Maxout(3)) >> lstm >> cb.with_array(cb.Softmax(2))
    docs = [floats(3, 2).astype("f"), floats(1, 2).astype("f")]
    tagger.initialize(docs)
    for node in tagger.walk():
        node.ops = Counting()
    Y, backprop = tagger.begin_update(docs, wants_dX=False)
    assert backprop(Y) is None
    assert products == [True] * 5 + [False] * 2

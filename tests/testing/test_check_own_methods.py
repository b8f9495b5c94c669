"""check_layer on objects and on subclasses with methods of their own, right and wrong ones."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.testing import check_layer
from helpers.objects import Affine, Doubled

X = np.random.default_rng(0).normal(size=(5, 3))


class Scale(cb.Model[Any, Any]):
    """Y = s * X, by a begin_update of its own."""

    slope = 1.0  # the factor of the gradient of s; only 1 is right

    def __init__(self) -> None:
        params = {"s": cb.Param(("nI",), cb.ones)}
        super().__init__("scale", dims={"nI": None}, params=params, accepts="floats2d")
        self.calls = 0

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:  # type: ignore[override]
        s = self.get_param("s")

        def backprop(dY: Any, sgd: Any = None) -> Any:
            self.inc_grad("s", self.slope * (dY * X).sum(axis=0))
            return dY * s

        return X * s, backprop


class WrongGradient(Scale):
    slope = 2.0


class WrongPrediction(Scale):
    def predict(self, X: Any) -> Any:
        return super().predict(X) + 1


class Counts(Scale):
    """Returns something else in each pass."""

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:
        Y, backprop = super().begin_update(X)
        self.calls += 1
        return Y + self.calls, backprop


class Forgets(Scale):
    def to_bytes(self, **exclude: bool) -> bytes:
        return b""

    def from_bytes(self, data: bytes, **exclude: bool) -> Any:
        return self


@pytest.mark.parametrize("make", [
    lambda: cb.wrap(Affine(4, 3)), lambda: cb.wrap(Doubled()), Scale,
    lambda: cb.residual(Scale()), lambda: cb.Linear(3) >> Affine(4) >> cb.Linear(2, 4),
])  # fmt: skip
def test_right_layers_pass_every_invariant(make: Any) -> None:
    lines = str(check_layer(make(), X)).splitlines()
    assert len(lines) == 8
    assert all("passed" in line for line in lines)


@pytest.mark.parametrize(("make", "invariant"), [
    (WrongGradient, "check_backprop"), (WrongPrediction, "check_predict"),
    (Counts, "check_backprop"), (Forgets, "check_saving"),
])  # fmt: skip
def test_wrong_layer_fails_its_invariant_alone_and_nested(make: Any, invariant: str) -> None:
    for model in (make(), cb.chain(make(), cb.relu())):
        with pytest.raises(AssertionError) as caught:
            check_layer(model, X)
        failed = [line for line in str(caught.value).splitlines() if "failed " in line]
        assert any(line.split()[0] == invariant for line in failed), caught.value

"""What layers that wrap another library's functions share: their weights."""

from __future__ import annotations

from functools import partial
from typing import Any

from combinet.core.run import Run
from combinet.types import Floats, Generator, Initializer, Shape


def starts_at(value: Floats) -> Initializer:
    """An initializer that gives a weight the value it has in the other library."""
    return partial(_value, value)


def _value(value: Floats, shape: Shape, rng: Generator) -> Floats:
    return value


def weights_of(model: Any, run: Run) -> dict[str, Any]:
    """All weights of a layer by name, of one moment; the layer may have none."""
    names = model.param_names
    return dict(zip(names, run.params(model, *names), strict=True)) if names else {}

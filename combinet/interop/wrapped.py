"""What layers that wrap another library's functions share: their weights."""

from __future__ import annotations

from functools import partial
from typing import Any

from combinet import Param, Run
from combinet.types import Floats, Generator, Shape


def param_from(value: Any) -> Param:
    """A parameter whose first value is that of the other library, row by row as it lies there."""
    return Param(value.shape, partial(_first_value, value), order="C")


def _first_value(value: Floats, shape: Shape, rng: Generator) -> Floats:
    return value


def weights_of(model: Any, run: Run) -> dict[str, Any]:
    """All weights of a layer by name, of one moment; the layer may have none."""
    names = model.param_names
    return dict(zip(names, run.params(model, *names), strict=True)) if names else {}

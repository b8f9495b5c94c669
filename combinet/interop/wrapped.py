"""What layers that wrap another library's functions share: their weights, and fixed widths."""

from __future__ import annotations

from functools import partial
from typing import Any

from combinet.errors import DimensionError
from combinet.run import Run
from combinet.types import Floats, Generator, Initializer, Shape
from combinet.widths import Solver, Width, Widths, beside


def starts_at(value: Floats) -> Initializer:
    """An initializer that gives a weight the value it has in the other library."""
    return partial(_value, value)


def _value(value: Floats, shape: Shape, rng: Generator) -> Floats:
    return value


def weights_of(model: Any, run: Run) -> dict[str, Any]:
    """All weights of a layer by name, of one moment; the layer may have none."""
    names = model.param_names
    return dict(zip(names, run.params(model, *names), strict=True)) if names else {}


def fixed_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of a layer whose code fixes its widths: they are checked and never change."""
    for name, size in (("nI", nI), ("nO", nO)):
        known = model.dims.get(name)
        if size is not None and known not in (None, size):
            raise DimensionError(f"{model.name} has {name}={known}, but {beside(solve)} {size}")
    return model.dims.get("nI"), model.dims.get("nO")

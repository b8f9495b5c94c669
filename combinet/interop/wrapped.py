"""Parameters of layers that wrap a model of another library."""

from functools import partial
from typing import Any

from combinet import Param, Run
from combinet.types import Floats, Generator, Shape


def param_from(value: Any) -> Param:
    """Returns a parameter whose initial value is this array, stored row by row."""
    return Param(value.shape, partial(_first_value, value), order="C")


def _first_value(value: Floats, shape: Shape, rng: Generator) -> Floats:
    return value


def weights_of(model: Any, run: Run) -> dict[str, Any]:
    """Returns all weights of a layer by name, read at the same time. The layer may have none."""
    names = model.param_names
    return dict(zip(names, run.params(model, *names), strict=True)) if names else {}

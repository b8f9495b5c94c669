"""A model's weights as a file of Hugging Face's safetensors, which other libraries read too."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from combinet import DimensionError, FormatError, Model, Run
from combinet.core.saving import load
from combinet.core.tree import paths
from combinet.interop.extras import extra
from combinet.interop.wrapped import weights_of
from combinet.storage.file_format import to_host, write
from combinet.types import is_size

with extra("safetensors", "safetensors"):
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save

FORMAT = "combinet"
VERSION = "1"


def to_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Write the weights by their names, those of `model.slots_by_path()`, to a file.

    Each is there in its standard shape, such as (nO, nI), row by row, and in its own dtype. A layer
    that stands in several places is there once. The file is replaced whole or not at all. It holds
    weights alone: dims, settings and averages are for `to_disk`. Raises StateError for a model that
    is not initialized.

    Example:
        >>> import os, tempfile
        >>> from combinet import Linear
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = os.path.join(folder.name, "linear.safetensors")
        >>> to_safetensors(Linear(2, 3).initialize(), path)
        >>> from_safetensors(Linear(), path)
        linear  nI=3 nO=2  8: 8 parameters
        >>> folder.cleanup()
    """
    run = Run(model.ops, model.rng)
    weights = {
        f"{place}.{name}": np.ascontiguousarray(to_host(array))
        for place, node in paths(model).items()
        for name, array in weights_of(node, run).items()
    }
    write(path, save(weights, {"format": FORMAT, "version": VERSION}))


def from_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> Model[Any, Any]:
    """Read weights that `to_safetensors` wrote, or another library under the same names.

    The model need not be initialized; sizes that are not known are those of the file. Returns the
    model. Running averages start again at what is read. All is checked before anything is assigned:
    FormatError for a file that is none, for a name that is missing or that no parameter has, and
    for another dtype; DimensionError for another shape. They name the parameter; the model is
    unchanged.
    """
    weights, layers = _weights_in(path), paths(model).items()
    expected = {f"{place}.{name}" for place, node in layers for name in node.param_names}
    missing, extra = sorted(expected - weights.keys()), sorted(weights.keys() - expected)
    if missing or extra:
        raise FormatError(
            f"{model.name} has other parameters than the file: {_few(missing)} the file lacks, "
            f"{_few(extra)} it has instead"
        )
    plan = []
    for place, node in layers:
        params = {name: weights[f"{place}.{name}"] for name in node.param_names}
        for name, value in params.items():
            _check(f"{place}.{name}", node, node.param(name).axes, value)
        plan.append((place, node, {"params": params}))
    load(model, plan)
    return model


def _weights_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with safe_open(path, "numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
    except (SafetensorError, KeyError, TypeError) as error:
        raise FormatError(f"{os.fspath(path)!r} holds no weights: {error}") from None
    if about.get("format") == FORMAT and about.get("version") != VERSION:
        raise FormatError(
            f"{os.fspath(path)!r} was written in version {about.get('version')} of the format; "
            f"this is version {VERSION}"
        )
    return weights


def _check(name: str, node: Any, axes: tuple[str | int, ...], value: Any) -> None:
    """Raise FormatError or DimensionError if the model can't have this value for a parameter."""
    wanted = [str(node.dtype)] if node.slots else ["float32", "float64"]
    if str(value.dtype) not in wanted:
        raise FormatError(f"{name!r} is {' or '.join(wanted)}, not {value.dtype} as in the file")
    shape = [node.dims.get(axis) or axis for axis in axes]  # its name where it has no size yet
    pairs = zip(shape, value.shape, strict=True)
    if len(shape) != value.ndim or any(is_size(size) and size != found for size, found in pairs):
        sizes = ", ".join(map(str, shape))
        raise DimensionError(f"{name!r} is ({sizes}), not {value.shape} as in the file")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(map(repr, names[:3])) or "nothing") + more

"""Weights in safetensors files, the format of Hugging Face that other libraries can read."""

import os
from typing import Any

import numpy as np

from combinet import DimensionError, FormatError, Model, Run
from combinet.core.saving import load
from combinet.core.tree import paths
from combinet.extras import extra
from combinet.interop.wrapped import weights_of
from combinet.storage.file_format import to_host, write
from combinet.types import is_size

with extra("safetensors", "safetensors"):
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save

FORMAT = "combinet"
VERSION = "1"


def to_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Writes the weights of a model to a safetensors file.

    Each weight has its name from `model.slots_by_path()`, its standard shape, such as (nO, nI), and
    its dtype. It is stored row by row. A layer that occurs several times is written once. The file
    contains only weights; use `Model.to_disk` to save dims, settings and averages as well. An
    interrupted call leaves an existing file unchanged.

    Args:
        model: An initialized model.
        path: The file to write. An existing file is replaced.

    Raises:
        StateError: If the model is not initialized.

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
    """Loads the weights of a model from a safetensors file and returns the model.

    The file may come from `to_safetensors` or from another library that uses the same names.
    Running averages restart from the loaded weights. The whole file is checked before any weight is
    assigned, so an error leaves the model unchanged.

    Args:
        model: The model to load into. It need not be initialized: unknown sizes are taken from the
            file.
        path: The file to read.

    Raises:
        FormatError: If the file is not a safetensors file, lacks a parameter of the model, contains
            a name that the model does not have, or holds a weight of another dtype.
        DimensionError: If a weight has another shape. The message names the parameter.

    Example:
        >>> import os, tempfile
        >>> from combinet import Linear, relu
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.safetensors")
        ...     to_safetensors((Linear(2, 3) >> relu()).initialize(), path)
        ...     from_safetensors(Linear() >> relu(), path).get_dim("nI")
        3
    """
    weights, layers = _weights_in(path), paths(model).items()
    expected = {f"{place}.{name}" for place, node in layers for name in node.param_names}
    missing, extra = sorted(expected - weights.keys()), sorted(weights.keys() - expected)
    if missing or extra:
        raise FormatError(
            f"expected a file with the parameters of {model.name}; missing: {_few(missing)}; "
            f"unexpected: {_few(extra)}"
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
        raise FormatError(f"{os.fspath(path)!r} is not a safetensors file: {error}") from None
    if about.get("format") == FORMAT and about.get("version") != VERSION:
        raise FormatError(
            f"expected version {VERSION} of the format, got version {about.get('version')} "
            f"in {os.fspath(path)!r}"
        )
    return weights


def _check(name: str, node: Any, axes: tuple[str | int, ...], value: Any) -> None:
    """Raises FormatError or DimensionError if the model cannot have this value for a parameter."""
    wanted = [str(node.dtype)] if node.slots else ["float32", "float64"]
    if str(value.dtype) not in wanted:
        raise FormatError(f"{name!r}: expected {' or '.join(wanted)}, got {value.dtype}")
    shape = [node.dims.get(axis) or axis for axis in axes]  # the dim's name if its size is unknown
    pairs = zip(shape, value.shape, strict=True)
    if len(shape) != value.ndim or any(is_size(size) and size != found for size, found in pairs):
        sizes = ", ".join(map(str, shape))
        raise DimensionError(f"{name!r}: expected shape ({sizes}), got {value.shape}")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(map(repr, names[:3])) or "none") + more

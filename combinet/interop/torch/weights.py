"""The weights of a wrapped module: back into a module, and to and from safetensors files."""

import os
from typing import Any

import torch
from torch import nn

from combinet.core.model import Model
from combinet.errors import DimensionError, FormatError, InputError
from combinet.extras import extra
from combinet.interop.torch.functional_module import FunctionalModule, constant_name
from combinet.interop.torch.sizes import set_sizes
from combinet.storage.file_format import read, to_host, write


def unwrap(model: Model[Any, Any]) -> nn.Module:
    """Returns the module of a `TorchWrapper` on the CPU, with the model's current weights.

    The module shares no memory with the model.

    Args:
        model: A model made by `TorchWrapper`.

    Raises:
        InputError: If `model` was not made by `TorchWrapper`.

    Example:
        >>> import torch
        >>> from combinet.interop.torch import TorchWrapper
        >>> model = TorchWrapper(torch.nn.Linear(2, 1)).resize_output(3)
        >>> unwrap(model)
        Linear(in_features=2, out_features=3, bias=True)
    """
    functional = _functional(model)
    values = {name: model.get_param(name) for name in model.param_names}
    values |= {name: model.attrs[constant_name(name)] for name in functional.constants}
    new: dict[str, torch.Tensor] = {}
    for name, spec in functional.specs.items():
        value = torch.as_tensor(to_host(values[name]), dtype=spec.dtype)
        trained = isinstance(spec, nn.Parameter)
        new[name] = nn.Parameter(value, spec.requires_grad) if trained else value
    module = functional.copy(new)
    set_sizes(module)
    return module


def take_weights(model: Model[Any, Any], module: nn.Module) -> None:
    """Copies the weights and buffers of a PyTorch module into a `TorchWrapper`.

    Args:
        model: A model made by `TorchWrapper`.
        module: A module with the same parameters and buffers as the wrapped module.

    Raises:
        InputError: If `model` was not made by `TorchWrapper`, or if the module lacks a parameter or
            buffer.
        DimensionError: If a parameter or buffer has another shape.

    Example:
        >>> import torch
        >>> from combinet.interop.torch import TorchWrapper
        >>> model, trained = TorchWrapper(torch.nn.Linear(2, 1)), torch.nn.Linear(2, 1)
        >>> take_weights(model, trained)
        >>> bool((model.get_param("bias") == trained.bias.detach().numpy()).all())
        True
    """
    functional = _functional(model)
    named = [*module.named_parameters(), *module.named_buffers()]
    values = {name: _plain(tensor) for name, tensor in named}
    stored = [*functional.parameters, *functional.buffers]
    if missing := {*stored, *functional.constants} - values.keys():
        raise InputError(f"{model.name} expected {sorted(missing)}, got {[*values]}")
    for name in stored:
        expected, found = model.slots[name].shape, values[name].shape
        if found != expected:
            raise DimensionError(f"{model.name}: expected {name} {expected}, got {found}")
    for name in stored:
        model.set_param(name, values[name])
    model.attrs |= {constant_name(name): values[name] for name in functional.constants}


def to_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Writes the state dict of a wrapped module to a safetensors file.

    PyTorch can load the file with `safetensors.torch.load_file`. A tensor that occurs twice in the
    module is written twice.

    Args:
        model: A model made by `TorchWrapper`.
        path: The file to write. An existing file is replaced.

    Raises:
        InputError: If `model` was not made by `TorchWrapper`.

    Example:
        >>> import tempfile, torch
        >>> from combinet.interop.torch import TorchWrapper
        >>> model = TorchWrapper(torch.nn.Linear(2, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     to_safetensors(model, f"{folder}/linear.safetensors")
        ...     from_safetensors(model, f"{folder}/linear.safetensors")
    """
    state = unwrap(model).state_dict()
    # clone: the format does not support shared memory, so a shared tensor is written twice.
    with extra("torch", "safetensors"):
        from safetensors.torch import save
    write(path, save({name: value.clone().contiguous() for name, value in state.items()}))


def from_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Loads a state dict from a safetensors file into a `TorchWrapper`.

    The file may come from `to_safetensors` or from PyTorch.

    Args:
        model: A model made by `TorchWrapper`.
        path: The file to read.

    Raises:
        InputError: If `model` was not made by `TorchWrapper`.
        FormatError: If the file is not a safetensors file or belongs to another module. The model
            does not change.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> from combinet.interop.torch import TorchWrapper
        >>> trained, model = torch.nn.Linear(2, 1), TorchWrapper(torch.nn.Linear(2, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(trained.state_dict(), f"{folder}/linear.safetensors")
        ...     from_safetensors(model, f"{folder}/linear.safetensors")
        >>> bool((model.get_param("weight") == trained.weight.detach().numpy()).all())
        True
    """
    with extra("torch", "safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load
    module = unwrap(model)
    try:
        module.load_state_dict(load(read(path)))
    except (RuntimeError, SafetensorError) as error:
        raise FormatError(f"{model.name} cannot load {os.fspath(path)!r}: {error}") from None
    take_weights(model, module)


def _functional(model: Model[Any, Any]) -> FunctionalModule:
    functional = model.attrs.get("module")
    if not isinstance(functional, FunctionalModule):
        raise InputError(f"expected a TorchWrapper, got {model.name}")
    return functional


def _plain(tensor: torch.Tensor) -> Any:
    """Returns a copy of the values as a NumPy array of a dtype that can be saved."""
    values = tensor.detach().cpu()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return values.to(torch.uint8 if values.dtype == torch.bool else values.dtype).numpy().copy()

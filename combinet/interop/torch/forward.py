"""The pass of a wrapped module: forward by the module, backward by PyTorch's autograd."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from combinet.core.model import Model
from combinet.core.run import PredictRun, Run
from combinet.errors import DimensionError, StateError
from combinet.interop.torch import convert
from combinet.interop.torch.functional_module import FunctionalModule, Named, constant_name
from combinet.interop.torch.scaling import GradientScale
from combinet.interop.wrapped import weights_of


def forward(model: Model[Any, Any], X: Any, run: Run) -> Any:
    """The forward function of `TorchWrapper`."""
    functional: FunctionalModule = model.attrs["module"]
    learns, wants_dX = not isinstance(run, PredictRun), run.wants_dX
    dtype = torch.float64 if model.dtype == "float64" else torch.float32
    inputs = convert.to_tensors(X, run.ops)
    weights, buffers, constants = _tensors(model, run)
    leaves = []
    if learns:
        trained = [t for name, t in weights.items() if functional.parameters[name].requires_grad]
        floats = [t for t in convert.tensors_in(inputs) if wants_dX and t.is_floating_point()]
        leaves = [tensor.requires_grad_() for tensor in trained + floats]
    new = {name: buffer.clone() for name, buffer in buffers.items()} if run.train else buffers
    drop = run.drop if run.train and model.attrs["use_drop"] else None
    watched = _watched(inputs, weights | buffers)
    tensors, (args, kwargs) = weights | new | constants, _arguments(inputs)
    with _torch_settings(model, run, learns=learns):
        outputs = functional(tensors, args, kwargs, train=run.train, drop=drop)
    _check_unwritten(model, watched)

    def backprop(dY: Any) -> Any:
        scale = model.attrs["scale"] if model.attrs["autocast"] == "float16" else None
        found = gradients(model, leaves, outputs, convert.to_tensors(dY, run.ops), scale)
        for name, weight in weights.items():
            if id(weight) in found:
                _add_gradient(model, run, name, found[id(weight)])
        for name, buffer in buffers.items():
            # PyTorch's version counter misses some writes to buffers, so the values are compared.
            if not new[name].equal(buffer):
                run.inc_grad(model, **{name: convert.to_array(new[name].to(dtype), run.ops)})
        if not wants_dX:
            return None
        dX = convert.with_tensors(inputs, lambda t: found.get(id(t)), keep=False)
        return convert.to_arrays(dX, run.ops, dtype)

    return convert.to_arrays(outputs, run.ops, dtype), backprop


def _tensors(model: Model[Any, Any], run: Run) -> tuple[Named, Named, Named]:
    """Returns the weights and buffers as tensors that view the store, and the constants."""
    functional: FunctionalModule = model.attrs["module"]
    tensors = {name: convert.to_tensor(array) for name, array in weights_of(model, run).items()}
    weights = {name: tensors[name] for name in functional.parameters}
    buffers = {name: tensors[name] if spec.is_floating_point() else tensors[name].to(spec.dtype)
               for name, spec in functional.buffers.items()}  # fmt: skip
    device = f"cuda:{run.ops.device}" if run.ops.device >= 0 else "cpu"
    constants = {
        name: torch.as_tensor(model.attrs[constant_name(name)], dtype=spec.dtype, device=device)
        for name, spec in functional.constants.items()
    }
    return weights, buffers, constants


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the positional and the keyword arguments that a batch contains."""
    if not isinstance(inputs, tuple) or isinstance(inputs, PackedSequence):
        inputs = (inputs,)
    if inputs and isinstance(inputs[-1], dict):
        return inputs[:-1], inputs[-1]
    return inputs, {}


@contextmanager
def _torch_settings(model: Model[Any, Any], run: Run, *, learns: bool) -> Iterator[None]:
    """Sets gradients, autocast and the seed of PyTorch's generator for one pass.

    Restores the generator afterwards.
    """
    precision, gpus = model.attrs["autocast"], [run.ops.device] if run.ops.device >= 0 else []
    device = "cuda" if gpus else "cpu"
    autocast = torch.autocast(device, getattr(torch, precision)) if precision else nullcontext()
    with torch.set_grad_enabled(learns), autocast, torch.random.fork_rng(gpus, run.train):
        if run.train:  # torch.manual_seed would seed every device
            generators = torch.cuda.default_generators
            generator = generators[gpus[0]] if gpus else torch.default_generator
            generator.manual_seed(int(run.rng.integers(2**63)))
        yield


def _watched(inputs: Any, weights: Named) -> list[tuple[str, torch.Tensor, int]]:
    """Returns the tensors that the module must not change, with names and memory addresses."""
    named = [("its input", tensor) for tensor in convert.tensors_in(inputs)] + [*weights.items()]
    return [(name, tensor, tensor.data_ptr()) for name, tensor in named]


def _check_unwritten(model: Model[Any, Any], watched: list[tuple[str, torch.Tensor, int]]) -> None:
    """Raises StateError if the module has changed a watched tensor in place.

    A tensor that has moved to other memory is allowed.
    """
    for name, tensor, pointer in watched:
        if tensor._version and tensor.data_ptr() == pointer:
            raise StateError(f"{model.name} changed {name} in place; turn off inplace or max_norm")


def gradients(
    model: Model[Any, Any],
    leaves: list[torch.Tensor],
    outputs: Any,
    dY: Any,
    scale: GradientScale | None = None,
) -> dict[int, torch.Tensor]:
    """Returns the gradients of the leaves by their ids. Leaves without a gradient are left out.

    Args:
        model: The layer, for errors.
        leaves: The tensors whose gradients are computed.
        outputs: The nested output of the module.
        dY: The gradient of the output in the same structure, made of tensors.
        scale: The scaling of gradients in float16.
    """
    ends = [(y, dy) for y, dy in convert.pairs(outputs, dY) if y.requires_grad]
    for y, dy in ends:
        if y.shape != dy.shape:
            raise DimensionError(
                f"{model.name} expected the gradient of an output {tuple(y.shape)} in that "
                f"shape, got {tuple(dy.shape)}"
            )
    if not ends or not leaves:
        return {}

    def compute(factor: float = 1.0) -> Any:
        tops = [y for y, _ in ends]
        starts = [(dy * factor if factor != 1 else dy).to(y.dtype) for y, dy in ends]
        # Keep the graph: the callback may run again. The graph is freed with the callback.
        return torch.autograd.grad(tops, leaves, starts, retain_graph=True, allow_unused=True)

    found = compute() if scale is None else scale(compute)
    return {id(leaf): g for leaf, g in zip(leaves, found, strict=True) if g is not None}


def _add_gradient(model: Model[Any, Any], run: Run, name: str, gradient: torch.Tensor) -> None:
    """Adds a gradient to a parameter: by rows if it is sparse."""
    if not gradient.is_sparse:
        run.inc_grad(model, **{name: convert.to_array(gradient, run.ops)})
        return
    gradient = gradient.coalesce()
    rows = convert.to_array(gradient.indices().T.contiguous(), run.ops)
    run.inc_grad_rows(model, name, rows, convert.to_array(gradient.values(), run.ops))

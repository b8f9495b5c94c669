"""A module of PyTorch's as a layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from combinet.errors import DimensionError, InputError, StateError
from combinet.initializers import zeros
from combinet.interop.extras import load
from combinet.interop.torch.crossing import (
    pairs,
    tensor_of,
    tensors_in,
    to_array,
    to_arrays,
    to_tensor,
    to_tensors,
    with_tensors,
)
from combinet.interop.torch.scaling import GradientScale
from combinet.interop.torch.sizes import table_widths, width_axes
from combinet.interop.torch.skeleton import Skeleton
from combinet.model import Model
from combinet.node import Param
from combinet.run import PredictRun, Run
from combinet.widths import own_widths

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.nn.utils.rnn import PackedSequence
else:
    torch = load("torch", "torch")
    nn = torch.nn
    PackedSequence = load("torch.nn.utils.rnn", "torch").PackedSequence

Named = dict[str, torch.Tensor]


def TorchWrapper(
    module: nn.Module, *, use_drop: bool = False, autocast: str | None = None
) -> Model[Any, Any]:
    """A module of PyTorch's as a layer: Y = module(X), with its weights as the layer's parameters.

    X: an array; a tuple, for several arguments; a dict, for keyword arguments, or for both a
    tuple that ends with one. In these any nesting of tuples, lists and dicts. Arrays become
    tensors, and the module's tensors arrays, that view the same memory; `Padded` goes in as
    `PackedSequence`, and such a one comes out as Padded. The gradient of X has the form of X, with
    None for what has none. In training the module is in training mode, in `predict` in that of
    evaluation, with all that is in it.

    Params: those of the module, under PyTorch's names, at first with its values; the module that
    is given stays as it is. They are float64 if all of the module's are, else float32. Those that
    don't require a gradient are not trained. Buffers that a pass changes in place, as the running
    means of batch normalization, are statistics: an update moves them to what the passes since the
    last one have made of them, to the mean if there were several. They are saved as weights are.

    Dims: nI and nO (nV, the rows, of an `Embedding` that comes first), where the module is
    `Linear`, `Embedding`, or a `Sequential` of whose ends such a layer decides; there alone
    `resize_output` and `resize_input` change the module.

    Masks are drawn by PyTorch with a seed from the pass's generator. `begin_update`'s drop sets the
    rate of all dropout in the module if `use_drop` says so. With `autocast`, "bfloat16" or
    "float16", PyTorch computes in that type what it thinks fit, and for float16 scales gradients.

    Raises InputError for a lazy module and weights that aren't floats; in a pass StateError where
    the module writes to its weights or its input in place, as `Embedding` does with a `max_norm`.

    Example:
        >>> import numpy as np
        >>> from combinet import Adam, Softmax
        >>> model = TorchWrapper(nn.Sequential(nn.Linear(4, 8), nn.Tanh())) >> Softmax(3)
        >>> X = np.ones((2, 4), dtype="float32")
        >>> Y, backprop = model.initialize(X).begin_update(X)
        >>> backprop(Y, sgd=Adam(0.01)).shape
        (2, 4)
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"TorchWrapper takes a torch.nn.Module, not {type(module).__name__}")
    if autocast not in (None, "bfloat16", "float16"):
        raise InputError(f"autocast is 'bfloat16', 'float16' or None, not {autocast!r}")
    skeleton = Skeleton(module)
    axes = width_axes(module)
    dims: dict[str, int | None] = {}
    params = {}
    kept = {**skeleton.parameters, **skeleton.buffers}
    for name, value in kept.items():
        names = [axes.get((name, axis), str(size)) for axis, size in enumerate(value.shape)]
        dims |= dict(zip(names, value.shape, strict=True))
        params[name] = Param(tuple(names), zeros, "C", 1.0 if name in skeleton.buffers else None)
    attrs: dict[str, Any] = {
        "module": skeleton,
        "use_drop": use_drop,
        "autocast": autocast,
        "scale": GradientScale() if autocast == "float16" else None,
    }
    for name, constant in skeleton.constants.items():
        attrs[f"buffers.{name}"] = _plain(constant)
    model: Model[Any, Any] = Model(
        f"torch({type(module).__name__})",
        _torch,
        dims=dims,
        params=params,
        attrs=attrs,
        widths=table_widths if "nV" in axes.values() else own_widths,
    )
    doubles = {value.dtype for value in kept.values() if value.is_floating_point()}
    model.initialize(dtype="float64" if doubles == {torch.float64} else "float32")
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in kept:
            model.set_param(name, _plain(tensor))
    return model


def _plain(tensor: torch.Tensor) -> Any:
    """The values as a NumPy array of a type that can be saved, apart from the tensor's memory."""
    values = tensor.detach().cpu()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return values.to(torch.uint8 if values.dtype == torch.bool else values.dtype).numpy().copy()


def _torch(model: Model[Any, Any], X: Any, run: Run) -> Any:
    skeleton: Skeleton = model.attrs["module"]
    learns, wants_dX = not isinstance(run, PredictRun), run.wants_dX
    inputs = to_tensors(X, run.ops)
    weights, buffers, constants = _tensors(model, run)
    leaves = []
    if learns:
        own = [t for name, t in weights.items() if skeleton.parameters[name].requires_grad]
        floats = [t for t in tensors_in(inputs) if wants_dX and t.is_floating_point()]
        leaves = [tensor.requires_grad_() for tensor in own + floats]
    before = {name: buffer.clone() for name, buffer in buffers.items()} if run.train else {}
    watched = _watched(inputs, weights if run.train else weights | buffers)
    args, kwargs = _arguments(inputs)
    with ExitStack() as stack:
        for context in _contexts(model, run, learns):
            stack.enter_context(context)
        outputs = skeleton(
            weights | buffers | constants,
            args,
            kwargs,
            train=run.train,
            drop=run.drop if run.train and model.attrs["use_drop"] else None,
        )
    _check_unwritten(model, watched)
    dtype = _dtype(model)

    def backprop(dY: Any) -> Any:
        gradients = _gradients(model, leaves, outputs, to_tensors(dY, run.ops))
        for name, weight in weights.items():
            if id(weight) in gradients:
                _add_gradient(model, run, name, gradients[id(weight)])
        for name, value in before.items():
            # Of what is written to buffers PyTorch does not keep count: only the values tell.
            if not buffers[name].equal(value):
                run.inc_grad(model, **{name: to_array(buffers[name].to(dtype), run.ops)})
        if not wants_dX:
            return None
        dX = with_tensors(inputs, lambda t: gradients.get(id(t)), keep=False)
        return to_arrays(dX, run.ops, dtype)

    return to_arrays(outputs, run.ops, dtype), backprop


def _tensors(model: Model[Any, Any], run: Run) -> tuple[Named, Named, Named]:
    """Views of the weights, copies of the buffers where they may change, and what is constant."""
    skeleton: Skeleton = model.attrs["module"]
    names = model.param_names
    views = map(to_tensor, run.params(model, *names) if names else ())
    tensors = dict(zip(names, views, strict=True))
    weights = {name: tensors[name] for name in skeleton.parameters}
    buffers = {}
    for name, kind in skeleton.buffers.items():
        value = tensors[name] if kind.is_floating_point() else tensors[name].to(kind.dtype)
        buffers[name] = value.clone() if run.train else value
    constants = {
        name: torch.as_tensor(model.attrs[f"buffers.{name}"], dtype=kind.dtype, device=_device(run))
        for name, kind in skeleton.constants.items()
    }
    return weights, buffers, constants


def _device(run: Run) -> torch.device:
    return torch.device("cpu") if run.ops.device < 0 else torch.device("cuda", run.ops.device)


def _dtype(model: Model[Any, Any]) -> torch.dtype:
    return torch.float64 if model.dtype == "float64" else torch.float32


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional arguments and those by keyword that a batch is."""
    if isinstance(inputs, dict):
        return (), inputs
    if not isinstance(inputs, tuple) or isinstance(inputs, PackedSequence):
        return (inputs,), {}
    if inputs and isinstance(inputs[-1], dict):
        return inputs[:-1], inputs[-1]
    return inputs, {}


def _contexts(
    model: Model[Any, Any], run: Run, learns: bool
) -> Iterator[AbstractContextManager[Any]]:
    """What a module runs in: gradients or none, a seed of the pass's own, a type of number."""
    yield torch.set_grad_enabled(learns)
    device = _device(run)
    if run.train:
        yield torch.random.fork_rng(devices=[] if device.type == "cpu" else [run.ops.device])
        torch.manual_seed(int(run.rng.integers(2**63)))
    if model.attrs["autocast"] is not None:
        yield torch.autocast(device.type, dtype=getattr(torch, model.attrs["autocast"]))


def _watched(inputs: Any, weights: Named) -> list[tuple[str, torch.Tensor, int]]:
    named = [("its input", tensor) for tensor in tensors_in(inputs)] + [*weights.items()]
    return [(name, tensor, tensor.data_ptr()) for name, tensor in named]


def _check_unwritten(model: Model[Any, Any], watched: list[tuple[str, torch.Tensor, int]]) -> None:
    """Raise StateError if the memory of others has been written to; a tensor may have moved."""
    for name, tensor, pointer in watched:
        if tensor._version and tensor.data_ptr() == pointer:
            raise StateError(f"{model.name} has written to {name} in its forward pass, in place")


def _gradients(
    model: Model[Any, Any], leaves: list[torch.Tensor], outputs: Any, dY: Any
) -> dict[int, torch.Tensor]:
    """The gradients of leaves, by their ids, that have one."""
    ends = []
    for y, dy in pairs(outputs, dY):
        output, gradient = tensor_of(y), tensor_of(dy)
        if output is not None and gradient is not None and output.requires_grad:
            if output.shape != gradient.shape:
                raise DimensionError(
                    f"{model.name} takes the gradient of an output {tuple(output.shape)} in that "
                    f"shape, not {tuple(gradient.shape)}"
                )
            ends.append((output, gradient.to(output.dtype)))
    if not ends or not leaves:
        return {}

    def compute(factor: float = 1.0) -> Any:
        tops, starts = [y for y, _ in ends], [dy * factor if factor != 1 else dy for _, dy in ends]
        # The graph stays: a pass may be run backward again. It goes with the callback.
        return torch.autograd.grad(tops, leaves, starts, retain_graph=True, allow_unused=True)

    scale: GradientScale | None = model.attrs["scale"]
    found = compute() if scale is None else scale(compute)
    return {id(leaf): g for leaf, g in zip(leaves, found, strict=True) if g is not None}


def _add_gradient(model: Model[Any, Any], run: Run, name: str, gradient: torch.Tensor) -> None:
    """Add to a parameter's gradient; by rows, where the module has it so."""
    if not gradient.is_sparse:
        run.inc_grad(model, **{name: to_array(gradient, run.ops)})
        return
    gradient = gradient.coalesce()
    rows, values = gradient.indices().T.contiguous(), gradient.values()
    run.inc_grad_rows(model, name, to_array(rows, run.ops), to_array(values, run.ops))

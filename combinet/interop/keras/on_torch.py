"""The pass of a Keras layer with the backend torch."""

from typing import Any

import keras
import torch

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.interop.keras.stateless import StatelessLayer, check
from combinet.interop.torch import convert
from combinet.interop.torch.forward import gradients
from combinet.interop.wrapped import weights_of


def forward(model: Model[Any, Any], X: Any, run: Run) -> Any:
    """The forward function of `KerasWrapper` with the backend torch."""
    check(model.name, X, run.ops)
    layer: StatelessLayer = model.attrs["layer"]
    wants_dX, inputs = run.wants_dX, convert.to_tensors(X, run.ops)
    weights = {name: convert.to_tensor(array) for name, array in weights_of(model, run).items()}
    leaves = []
    if run.train:
        floats = [t for t in convert.tensors_in(inputs) if wants_dX and t.is_floating_point()]
        trained = [weights[name] for name in layer.trained]
        leaves = [tensor.requires_grad_() for tensor in trained + floats]
    seeds = layer.draw_seeds(run.rng) if run.train else ()
    grad, random = torch.set_grad_enabled(run.train), torch.random.fork_rng([], run.train)
    with keras.device("cpu"), grad, random:
        if run.train:  # dropout without a seed of its own draws from PyTorch's generator
            torch.default_generator.manual_seed(int(run.rng.integers(2**63)))
        Y, assigned = layer(inputs, weights, seeds, train=run.train)

    def backprop(dY: Any) -> Any:
        found = gradients(model, leaves, Y, convert.to_tensors(dY, run.ops))
        new = {name: found.get(id(weights[name])) for name in layer.trained} | assigned
        arrays = {name: convert.to_array(t, run.ops) for name, t in new.items() if t is not None}
        run.inc_grad(model, **arrays)
        if not wants_dX:
            return None
        dX = convert.with_tensors(inputs, lambda t: found.get(id(t)), keep=False)
        return convert.to_arrays(dX, run.ops)

    return convert.to_arrays(Y, run.ops), backprop

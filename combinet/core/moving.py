"""Moves of a model to another device. An error leaves the model where it was."""

from typing import Any

from combinet.core.allocation import move_weights, own_slots
from combinet.core.layer import Layer
from combinet.core.tree import divide, walk
from combinet.errors import DeviceError
from combinet.ops.base import Ops


def move(model: Layer, ops: Ops) -> None:
    """Moves layers with their gradients, averages and optimizer states. See `Model.to_gpu`.

    The layers below a pinned layer stay.
    """
    nodes, own = divide(model, "to_gpu", "to_cpu", pinned=False)
    away = [node for node in nodes if _place(node.ops) != _place(ops)]
    if away:
        own_slots(model)  # raises inside use_params
        _check_pinned(model, [*nodes, *own])
    moved = []
    try:
        for layer in own:
            moved.append((layer, layer.ops))
            _send(layer, ops)
        if away:
            move_weights(nodes, ops)
    except BaseException:
        for layer, before in reversed(moved):
            if _place(layer.ops) != _place(before):
                _send(layer, before)
        raise


def _place(ops: Ops) -> tuple[Any, int]:
    return type(ops), ops.device


def _send(layer: Any, ops: Ops) -> None:
    """Calls the layer's own method."""
    if ops.device < 0:
        layer.to_cpu()
    else:
        layer.to_gpu(ops.device)


def _check_pinned(model: Layer, nodes: list[Any]) -> None:
    pinned = {
        below.id
        for node in walk(model)
        if node.pinned
        for layer in node.layers
        for below in walk(layer)
    }
    for node in nodes:
        if node.id in pinned:
            raise DeviceError(f"{node.name} is used inside and outside with_cpu; use two copies")

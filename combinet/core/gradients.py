"""Accumulated gradients by parameter."""

from typing import Any

from combinet.core.model import Model
from combinet.storage.slots import Key
from combinet.types import Floats


def get_gradients(model: Model[Any, Any]) -> dict[Key, tuple[Floats, Floats]]:
    """Returns all parameters that have an accumulated gradient, with copies of these gradients.

    Args:
        model: Initialized model.

    Returns:
        A dict from (layer id, parameter name) to (parameter, gradient).

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize(dtype="float64")
        >>> Y, backprop = model.begin_update(np.array([[3.0]]))
        >>> dX = backprop(np.array([[2.0]]))
        >>> {name: gradient for (_, name), (_, gradient) in get_gradients(model).items()}
        {'W': array([[6.]]), 'b': array([2.])}
    """
    return {
        (node.id, name): (node.get_param(name), node.get_grad(name))
        for node in model.walk()
        for name in node.slots
        if node.has_grad(name)
    }

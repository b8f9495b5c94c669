"""The state of a fitted estimator as arrays, numbers and strings, without pickle."""

from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, type(None))


def state_of(value: Any) -> Any:
    """Returns the content of an estimator, or of a value in one, in a form that can be saved.

    Objects become dicts of their attributes. What else cannot be saved, such as compiled functions,
    becomes None: `set_state` keeps what the other estimator has in this place.

    Args:
        value: The estimator.

    Example:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> model = GaussianNB().fit([[0.0], [1.0], [4.0]], [0, 0, 1])
        >>> state_of(model)["theta_"]
        array([[0.5],
               [4. ]])
    """
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "fiu" else None
    if isinstance(value, np.generic):
        return state_of(np.asarray(value))
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.random.RandomState):
        return list(value.get_state())
    if isinstance(value, list | tuple):
        return [state_of(each) for each in value]
    content = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    names = sorted(name for name in content if isinstance(name, str))
    return {name: state_of(content[name]) for name in names}


def set_state(value: Any, state: Any) -> Any:
    """Returns `value` with a saved state. Arrays, lists and objects are changed in place.

    In place, because an estimator may hold an array twice, such as the weights that its own
    optimizer updates.

    Args:
        value: An estimator that has been fitted, or a value in it.
        state: What `state_of` returned for another estimator with the same settings.

    Raises:
        ValueError: If the estimators do not have the same structure.

    Example:
        >>> import numpy as np
        >>> set_state({"W": np.zeros(2), "steps": 0}, {"W": np.ones(2), "steps": 3})
        {'W': array([1., 1.]), 'steps': 3}
    """
    if isinstance(value, np.random.RandomState):
        value.set_state(tuple(state))
        return value
    if isinstance(state, np.ndarray):
        if isinstance(value, np.ndarray) and value.shape == state.shape:
            value[...] = state
            return value
        return state[()] if state.ndim == 0 else state
    if isinstance(value, list | tuple) and isinstance(state, list):
        if len(value) != len(state):
            return state
        return type(value)(set_state(old, new) for old, new in zip(value, state, strict=True))
    if not isinstance(state, dict):
        return value if state is None else state
    content = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if content is None:
        if state:
            raise ValueError(f"expected attributes of {value!r:.60}, got {[*state]}")
        return value
    for name, each in state.items():
        content[name] = set_state(content.get(name), each)
    return value

"""Functions of JAX as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from combinet import DeviceError, InputError, Model, Param, Run
from combinet.core.run import no_backprop
from combinet.errors import describe
from combinet.interop.extras import extra
from combinet.interop.wrapped import param_from, weights_of
from combinet.shapes import fixed

with extra("jax", "jax"):
    import jax


def JaxWrapper(
    apply: Callable[..., Any],
    params: Any,
    *,
    nI: int | None = None,
    nO: int | None = None,
    dropout: bool = False,
    name: str = "jax",
) -> Model[Any, Any]:
    """A pure function of JAX as a layer: Y = apply(params, X), with gradients by `jax.vjp`.

    `params` is a pytree of floats. Each leaf is declared as a parameter of this layer, named by its
    path in the tree ("dense.W" of {"dense": {"W": ...}}; "params", if the tree is a leaf), with
    the leaf as first value. So weights are saved, copied, averaged, and updated by combinet's
    optimizers, as those of every layer; the leaves themselves never change.

    X and Y are arrays, or tuples, lists or dicts of them; in them floats have gradients, and for
    integers there is None. What comes out are NumPy's arrays, read-only. JAX keeps to float32 and
    32-bit integers, unless it is told otherwise (`jax_enable_x64`): float64 is refused without.

    The function is compiled by `jax.jit`, once for each shape and dtype of X, and again for each
    of prediction, training, and training without dX. With `dropout` it is called as
    apply(params, X, key, drop): in training `key` is a key of `jax.random`, drawn from the
    pass's generator, and `drop` the pass's rate; in prediction they are None and 0.

    `nI` and `nO` are the widths of X and Y, where these are arrays, for checks and for neighbours
    whose widths are inferred. They cannot be resized. Arrays come from the CPU and go back there:
    on a GPU wrap the layer in `with_cpu`. Raises InputError for leaves that are not floats, that
    are empty, or whose paths read alike; in a pass, for what JAX has no arrays for.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> layer = JaxWrapper(lambda p, X: jnp.tanh(X @ p["W"]), {"W": np.eye(2)}).initialize()
        >>> Y, backprop = layer.begin_update(np.zeros((1, 2), "float32"))
        >>> Y, backprop(np.ones((1, 2), "float32"))
        (array([[0., 0.]], dtype=float32), array([[1., 1.]], dtype=float32))
        >>> layer.get_grad("W").shape
        (2, 2)
    """
    if isinstance(apply, Model) or not callable(apply):
        raise InputError(f"{name} takes a function apply(params, X), not {describe(apply)}")
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    dims = {dim: size for dim, size in (("nI", nI), ("nO", nO)) if size is not None}
    params, attrs = _declared(name, leaves), {"compiled": _Compiled(apply, tree, dropout)}
    return Model(name, _jax, dims=dims, params=params, attrs=attrs, widths=fixed)


def _jax(model: Model[Any, Any], X: Any, run: Run) -> Any:
    if run.ops.name != "numpy":
        raise DeviceError(f"{model.name} takes arrays on the CPU: wrap it, as in with_cpu(layer)")
    compiled: _Compiled = model.attrs["compiled"]
    weights = tuple(weights_of(model, run).values())
    _check(model, (X, weights))
    if not run.train:
        return _to_host(compiled.predict(weights, X, None, 0.0)), no_backprop
    seed = run.rng.integers(2**32, dtype="uint32") if compiled.dropout else None
    Y, vjp = compiled.begin(weights, X, seed, run.drop, run.wants_dX)
    for y in jax.tree.leaves(Y):
        if y.dtype.kind != "f":
            raise InputError(f"{model.name} gives {describe(y)}; in training it has to give floats")

    # Of stride 0: the backward pass needs the shapes of Y, and holds none of its memory.
    zeros = jax.tree.map(lambda y: np.broadcast_to(y.dtype.type(0), y.shape), Y)

    def backprop(dY: Any) -> Any:
        dY = jax.tree.map(lambda zero, dy: zero if dy is None else dy, zeros, dY)
        gradients, dX = _to_host(compiled.backprop(vjp, dY))
        run.inc_grad(model, **dict(zip(model.param_names, gradients, strict=True)))
        return dX

    return _to_host(Y), backprop


class _Compiled:
    """A function of JAX, compiled: by itself, and with its gradients.

    The backward pass is a pytree as well: one compiled function gives it, another one takes it.
    """

    def __init__(self, apply: Callable[..., Any], tree: Any, dropout: bool) -> None:
        def predict(weights: Any, X: Any, seed: Any, drop: Any) -> Any:
            params = jax.tree.unflatten(tree, weights)
            if not dropout:
                return apply(params, X)
            return apply(params, X, None if seed is None else jax.random.key(seed), drop)

        def begin(weights: Any, X: Any, seed: Any, drop: Any, wants_dX: bool) -> Any:
            inputs = (weights, X) if wants_dX else (weights,)
            return jax.vjp(lambda weights, X=X: predict(weights, X, seed, drop), *inputs)

        def backprop(vjp: Any, dY: Any) -> Any:
            gradients, *dX = vjp(dY)
            return gradients, jax.tree.map(_none_of_ints, dX[0]) if dX else None

        self.dropout = dropout
        self.predict = jax.jit(predict)
        self.begin = jax.jit(begin, static_argnums=4)
        self.backprop = jax.jit(backprop)


def _none_of_ints(gradient: Any) -> Any:
    """JAX has gradients of a dtype of their own, float0, for integers."""
    return None if gradient.dtype == jax.dtypes.float0 else gradient


def _to_host(X: Any) -> Any:
    return jax.tree.map(np.asarray, X)  # a third of the time that jax.device_get takes


def _check(model: Model[Any, Any], X: Any) -> None:
    """Raise InputError for what JAX has no arrays for, or would round without a word."""
    for leaf in jax.tree.leaves(X):
        if not hasattr(leaf, "dtype") or leaf.dtype.kind not in "fiub":
            raise InputError(
                f"{model.name} takes arrays, or tuples, lists or dicts of them, not "
                f"{describe(leaf)}: with_array or with_padded gives it those of a batch"
            )
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        if dtype != leaf.dtype and leaf.dtype.name in ("float64", "uint64"):
            raise InputError(
                f"{model.name} takes {dtype}, not {describe(leaf)}, unless JAX is told: "
                f"jax.config.update('jax_enable_x64', True)"
            )


def _declared(name: str, leaves: list[tuple[Any, Any]]) -> dict[str, Param]:
    params: dict[str, Param] = {}
    for path, leaf in leaves:
        label, value = _label(path), np.array(leaf)
        if not jax.numpy.issubdtype(value.dtype, jax.numpy.floating) or not value.size:
            raise InputError(
                f"{name} takes parameters of floats, not {describe(value)}, {label}: "
                f"what is not trained is a part of the function"
            )
        if label in params:
            raise InputError(f"{name} takes parameters with distinct names, not two called {label}")
        params[label] = param_from(value)
    return params


def _label(path: tuple[Any, ...]) -> str:
    """The name of a leaf: the keys, indices and attributes that lead to it."""
    fields = ("key", "idx", "name")
    steps = (next((getattr(key, f) for f in fields if hasattr(key, f)), key) for key in path)
    return ".".join(map(str, steps)) or "params"

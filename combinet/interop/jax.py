"""Functions of JAX as layers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from combinet import DeviceError, InputError, Model, Param, Run
from combinet.core.run import no_backprop
from combinet.errors import describe
from combinet.extras import extra
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

    Each leaf of `params` becomes a parameter of the layer. Its name is the leaf's path in the
    pytree: "dense.W" in {"dense": {"W": ...}}, or "params" if the pytree is a single leaf. The
    leaves are the initial values and never change. Weights are saved, copied, averaged and updated
    as in any other layer.

    X and Y are arrays, or tuples, lists or dicts of arrays. Floats have gradients; the gradient of
    integers is None. Outputs and gradients are read-only NumPy arrays. JAX computes in float32 and
    32-bit integers by default, so the layer rejects float64 unless the option `jax_enable_x64` is
    on.

    `jax.jit` compiles the function once for each shape and dtype of X, separately for prediction,
    for training, and for training without dX. The layer runs on the CPU; in a model on a GPU, wrap
    it in `with_cpu`.

    Args:
        apply: The function. It is called as apply(params, X), or with `dropout` as apply(params, X,
            key, drop).
        params: A pytree of float arrays, the initial weights. Use () for a function without
            weights.
        nI: Number of columns of X, if X is an array. It is used for checks and shape inference and
            cannot be resized. None leaves it unknown.
        nO: Number of columns of Y, if Y is an array, with the same use.
        dropout: Whether to call `apply` with `key` and `drop`. In training, `key` is a key of
            `jax.random` drawn from the generator of the pass, and `drop` is the dropout rate of the
            pass. In prediction they are None and 0.
        name: Name of the layer.

    Raises:
        InputError: If `apply` is not a function, or if a leaf is empty, is not an array of floats,
            or has the same path as another leaf. In a pass: if X contains something that JAX has no
            array for, or if an output is not a float in training.
        DeviceError: If the layer runs on a GPU.

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
        raise InputError(f"{name} expected a function apply(params, X), got {describe(apply)}")
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    dims = {dim: size for dim, size in (("nI", nI), ("nO", nO)) if size is not None}
    params, attrs = _declared(name, leaves), {"compiled": _Compiled(apply, tree, dropout)}
    return Model(name, _jax, dims=dims, params=params, attrs=attrs, widths=fixed)


def _jax(model: Model[Any, Any], X: Any, run: Run) -> Any:
    if run.ops.name != "numpy":
        raise DeviceError(f"{model.name} expected arrays on the CPU; wrap it: with_cpu(layer)")
    compiled: _Compiled = model.attrs["compiled"]
    weights = tuple(weights_of(model, run).values())
    _check(model, (X, weights))
    if not run.train:
        return _to_host(compiled.predict(weights, X, None, 0.0)), no_backprop
    seed = run.rng.integers(2**32, dtype="uint32") if compiled.dropout else None
    Y, vjp = compiled.begin(weights, X, seed, run.drop, run.wants_dX)
    for y in jax.tree.leaves(Y):
        if y.dtype.kind != "f":
            raise InputError(f"{model.name} expected floats as training output, got {describe(y)}")

    # Stride 0: the backward pass needs only the shapes of Y, so it does not keep Y in memory.
    zeros = jax.tree.map(lambda y: np.broadcast_to(y.dtype.type(0), y.shape), Y)

    def backprop(dY: Any) -> Any:
        dY = jax.tree.map(lambda zero, dy: zero if dy is None else dy, zeros, dY)
        gradients, dX = _to_host(compiled.backprop(vjp, dY))
        run.inc_grad(model, **dict(zip(model.param_names, gradients, strict=True)))
        return dX

    return _to_host(Y), backprop


class _Compiled:
    """The compiled functions of a layer: prediction, forward pass and backward pass.

    The callback of `jax.vjp` is a pytree, so `begin` can return it from one compiled function and
    `backprop` can receive it in another.
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
    """None for the gradient of integers, which has JAX's dtype float0."""
    return None if gradient.dtype == jax.dtypes.float0 else gradient


def _to_host(X: Any) -> Any:
    return jax.tree.map(np.asarray, X)  # on a CPU, takes a third of the time of jax.device_get


def _check(model: Model[Any, Any], X: Any) -> None:
    """Raises InputError for values that JAX has no array for, or would silently round."""
    for leaf in jax.tree.leaves(X):
        if not hasattr(leaf, "dtype") or leaf.dtype.kind not in "fiub":
            raise InputError(
                f"{model.name} expected arrays, or tuples, lists or dicts of arrays, got "
                f"{describe(leaf)}; use with_array or with_padded for batches of sequences"
            )
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        if dtype != leaf.dtype and leaf.dtype.name in ("float64", "uint64"):
            raise InputError(
                f"{model.name} expected {dtype}, got {describe(leaf)}; cast it, or call "
                f"jax.config.update('jax_enable_x64', True)"
            )


def _declared(name: str, leaves: list[tuple[Any, Any]]) -> dict[str, Param]:
    params: dict[str, Param] = {}
    for path, leaf in leaves:
        label, value = _label(path), np.array(leaf)
        if not jax.numpy.issubdtype(value.dtype, jax.numpy.floating) or not value.size:
            raise InputError(
                f"{name} expected parameters that are float arrays and not empty, got "
                f"{describe(value)} for {label}; make untrained values part of the function"
            )
        if label in params:
            raise InputError(f"{name} expected parameters with distinct names, got {label} twice")
        params[label] = param_from(value)
    return params


def _label(path: tuple[Any, ...]) -> str:
    """Returns the name of a leaf: the keys, indices and attributes on its path, joined by dots."""
    fields = ("key", "idx", "name")
    steps = (next((getattr(key, f) for f in fields if hasattr(key, f)), key) for key in path)
    return ".".join(map(str, steps)) or "params"

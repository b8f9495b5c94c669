"""A layer or model of Keras as a layer."""

from typing import Any

import keras
import numpy as np

from combinet.core.model import Model
from combinet.core.node import Forward, Param
from combinet.errors import InputError, describe
from combinet.interop.keras.stateless import StatelessLayer
from combinet.interop.wrapped import param_from
from combinet.shapes import fixed


def KerasWrapper(
    layer: Any, *, nI: int | None = None, nO: int | None = None, name: str | None = None
) -> Model[Any, Any]:
    """A layer or model of Keras 3 as a layer: Y = layer(X), with its weights as parameters.

    X is an array, or a tuple, list or dict of arrays for a layer of several inputs. It is the first
    argument of the Keras layer. Y has the structure that the Keras layer returns. The gradient of
    integers is None. The Keras layer is in training mode in training and in inference mode in
    `predict`.

    The parameters are copies of `layer.weights`, in this order. Their names are the names of the
    variables, such as "kernel". If several variables have the same name, it is followed by the
    position among these: "kernel[0]". The Keras layer itself does not change. Parameters and
    outputs are float32, because Keras computes in float32 with these backends, or in the lower
    precision of its layer.

    Weights that Keras does not train are buffers. If a pass in training assigns them, as batch
    normalization does with its moving statistics, an update sets them to the values that the passes
    since the last update computed, or to the mean if there were several passes. Other such weights,
    for example of a layer with `trainable=False`, stay as they are. Random numbers of Keras, such
    as dropout masks, come from the generator of the pass. The states of seed generators and metrics
    are not part of the model.

    Losses inside the Keras layer (regularizers, `add_loss`), constraints, and the `drop` of
    `begin_update` have no effect on it: dropout in Keras keeps its own rate.

    The backends torch and jax are supported, on the CPU. In a model on a GPU, wrap the layer in
    `with_cpu`. With jax, the passes are compiled once for each shape and dtype of X.

    Args:
        layer: The layer or model. If it is not built yet, it is built for an input of `nI` columns.
        nI: Number of columns of X, if X is an array. It is used for checks and shape inference and
            cannot be resized. None leaves it unknown.
        nO: Number of columns of Y, if Y is an array, with the same use.
        name: Name of the layer. By default "keras(Dense)" for a layer of the class Dense.

    Raises:
        InputError: If `layer` is not a Keras layer, if it is not built and `nI` is None, if Keras
            uses another backend, or if a weight has a value that a float32 cannot represent. In a
            pass: if X is not made of arrays.
        DeviceError: In a pass on a GPU.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from combinet import Softmax
        >>> model = KerasWrapper(keras.layers.Dense(8, activation="tanh"), nI=4, nO=8) >> Softmax(3)
        >>> model.initialize()
        chain: 67 parameters
          keras(Dense)  nI=4 nO=8  40
          softmax       nI=8 nO=3  27
        >>> Y, backprop = model.begin_update(np.ones((2, 4), dtype="float32"))
        >>> backprop(Y).shape
        (2, 4)
        >>> model[0].param_names
        ('kernel', 'bias')
    """
    if not isinstance(layer, keras.Layer):
        raise InputError(f"KerasWrapper expected a layer or model of Keras, got {describe(layer)}")
    name = f"keras({type(layer).__name__})" if name is None else name
    backend = keras.config.backend()
    if backend not in ("torch", "jax"):
        raise InputError(
            f"{name} expected Keras with the backend torch or jax, got {backend}; set the "
            f"environment variable KERAS_BACKEND before the first import of keras"
        )
    if not layer.built:
        if nI is None:
            raise InputError(
                f"{name} expected a built layer, got one without weights; pass nI, or call "
                f"layer.build(input_shape) or the layer on a sample first"
            )
        layer.build((None, nI))
    stateless = StatelessLayer(layer)
    attrs: dict[str, Any] = {"layer": stateless}
    forward: Forward
    if backend == "torch":
        from combinet.interop.keras import on_torch

        forward = on_torch.forward
    else:
        from combinet.interop.keras import on_jax

        forward = on_jax.forward
        attrs["compiled"] = on_jax.Compiled(stateless)
    values = {each: _host(variable) for each, variable in stateless.variables.items()}
    dims = {dim: size for dim, size in (("nI", nI), ("nO", nO)) if size is not None}
    params = {each: _declared(name, each, value, each in stateless.trained)
              for each, value in values.items()}  # fmt: skip
    model: Model[Any, Any] = Model(
        name, forward, dims=dims, params=params, attrs=attrs, widths=fixed
    )
    return model.initialize(dtype="float32") if params else model


def _host(variable: Any) -> Any:
    """Returns the value of a variable as a NumPy array, of half precision as float32."""
    dtype = "float32" if variable.dtype in ("float16", "bfloat16") else variable.dtype
    with keras.device("cpu"):
        return np.asarray(keras.ops.stop_gradient(keras.ops.cast(variable.value, dtype)))


def _declared(layer: str, name: str, value: Any, trained: bool) -> Param:
    stored = value.astype("float32")
    if value.dtype.kind != "f" and not (stored.astype(value.dtype) == value).all():
        raise InputError(
            f"{layer} expected weights that a float32 represents exactly, got {value.dtype} "
            f"numbers that it does not: {name}"
        )
    return param_from(stored) if trained else param_from(stored)._replace(ema_rate=1.0)

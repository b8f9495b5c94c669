"""Keras: its layers and models as layers."""

from combinet.extras import extra

try:
    with extra("keras", "keras"):
        from combinet.interop.keras.wrapper import KerasWrapper
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "tensorflow":
        raise
    raise ImportError(
        "combinet.interop.keras expected Keras with the backend torch or jax, got tensorflow, "
        "which Keras uses by default; set the environment variable KERAS_BACKEND to 'torch' or "
        "'jax' before the first import of keras"
    ) from None

__all__ = ["KerasWrapper"]

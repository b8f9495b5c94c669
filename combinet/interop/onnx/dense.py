"""Layers that compute each row separately."""

from typing import Any

import numpy as np

import combinet as cb
from combinet.interop.onnx.activations import activation
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Tensor


@converts(cb.Linear())
def _affine(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    return to.op("Gemm", X, *weights, transB=1)


@converts(cb.Gelu())
def _activated(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    return activation(model, _affine(model, X, to, *weights), to)


@converts(cb.Relu())
def _relu(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    return to.op("Relu", _affine(model, X, to, *weights))


@converts(cb.Softmax())
def _softmax(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    Z, temperature = _affine(model, X, to, *weights), float(model.attrs["softmax_temperature"])
    if temperature != 1:
        Z = Z / temperature
    return to.op("Softmax", Z, axis=-1) if model.attrs["softmax_normalize"] else Z


@converts(cb.MultiSoftmax([1]))
def _multi_softmax(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    Z, sizes = _affine(model, X, to, *weights), model.attrs["nOs"]
    ends = np.cumsum(sizes).tolist()
    groups = [Z.slice(end - size, end, axis=1) for size, end in zip(sizes, ends, strict=True)]
    return to.op("Concat", *(to.op("Softmax", group, axis=-1) for group in groups), axis=1)


@converts(cb.Maxout())
def _maxout(model: Any, X: Tensor, to: Export, W: Tensor, *b: Tensor) -> Tensor:
    nO, nP = model.get_dim("nO"), model.get_dim("nP")
    Z = to.op("Gemm", X, W.reshape(nO * nP, -1), *(each.reshape(-1) for each in b), transB=1)
    return to.op("ReduceMax", Z.reshape(0, nO, nP), [2], keepdims=0)


@converts(cb.LayerNorm())
def _layer_norm(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    return to.op("LayerNormalization", X, *weights, axis=-1, epsilon=model.attrs["eps"])


@converts(cb.RMSNorm())
def _rms_norm(model: Any, X: Tensor, to: Export, G: Tensor) -> Tensor:
    mean = to.op("ReduceMean", X * X, [1])
    return X / to.op("Sqrt", mean + float(model.attrs["eps"])) * G


@converts(cb.BatchNorm())
def _batch_norm(model: Any, X: Tensor, to: Export, *weights: Tensor) -> Tensor:
    return to.op("BatchNormalization", X, *weights, epsilon=model.attrs["eps"])


@converts(cb.CauchySimilarity())
def _cauchy_similarity(model: Any, X: Any, to: Export, W: Tensor) -> Tensor:
    difference = X[0] - X[1]
    return to.op("Reciprocal", difference * difference @ W + 1.0)

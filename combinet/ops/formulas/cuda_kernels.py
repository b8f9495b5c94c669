"""Formulas as CUDA kernels, through CuPy."""

from __future__ import annotations

from functools import cache
from typing import Any

from combinet.ops.formulas.program import Code

# What the code of a program calls, as far as CUDA has no function of that name.
PREAMBLE = """
template <typename T> __device__ T where(bool c, T a, T b) { return c ? a : b; }
template <typename T> __device__ T maximum(T a, T b) { return a > b || a != a ? a : b; }
template <typename T> __device__ T minimum(T a, T b) { return a < b || a != a ? a : b; }
template <typename T> __device__ T sign(T a) { return a > 0 ? T(1) : a < 0 ? T(-1) : a; }
__device__ bool logical_not(bool c) { return !c; }
"""
CONSTANTS = "const double inf = 1.0 / 0.0, nan = 0.0 / 0.0;"


@cache
def kernel(cupy: Any, code: Code) -> Any:
    """The kernel (x, outputs...) of a program's code, which CuPy compiles at the first call."""
    lines, outputs = code
    params = ", ".join(f"T y{k}" for k in range(len(outputs)))
    body = [f"const auto {name} = {value};" for name, value in lines]
    body += [f"y{k} = {name};" for k, name in enumerate(outputs)]
    return cupy.ElementwiseKernel(
        "T x", params, "\n".join(body), "elementwise", preamble=PREAMBLE, loop_prep=CONSTANTS
    )

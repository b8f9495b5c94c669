"""Formulas as CUDA kernels, through CuPy."""

from functools import cache
from typing import Any

from combinet.ops.formulas.program import Code

# The functions that a program's code calls and CUDA does not have.
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
    """Returns the kernel (x, outputs...) of a program. CuPy compiles it at the first call."""
    lines, outputs = code
    params = ", ".join(f"T y{k}" for k in range(len(outputs)))
    body = [f"const auto {name} = {value};" for name, value in lines]
    body += [f"y{k} = {name};" for k, name in enumerate(outputs)]
    return cupy.ElementwiseKernel(
        "T x", params, "\n".join(body), "elementwise", preamble=PREAMBLE, loop_prep=CONSTANTS
    )

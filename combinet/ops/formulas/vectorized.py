"""Functions that Numba's compiler can vectorize.

A loop that calls the C library processes one element at a time and is several times slower than
NumPy. These functions are written without branches. They are precise to 3 units in the last place
over the whole range. Range reduction and correction terms are taken from fdlibm (Sun Microsystems
1993). The polynomials are Taylor's.
"""

from functools import cache
from math import factorial
from typing import Any, NamedTuple

import numba
import numpy as np

# Unlike `kernels`, this does not reorder operations: formulas are computed as they are written.
compiled = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})

where = compiled(lambda c, a, b: a if c else b)
maximum = compiled(lambda a, b: where((a > b) | (a != a), a, b))
minimum = compiled(lambda a, b: where((a < b) | (a != a), a, b))
logical_not = compiled(lambda c: not c)


@compiled
def horner(terms: Any, x: Any) -> Any:
    """Returns the value of a polynomial at x. `terms` begins with the highest power."""
    total = terms[0]
    for term in terms[1:]:
        total = total * x + term
    return total


class _Format(NamedTuple):
    """The properties of a dtype that the functions depend on."""

    integer: Any  # of the same size
    log2: tuple[float, float]  # two parts of log 2; the first times an exponent is exact
    exp: tuple[float, float]  # exp is 0 below the first, infinite above the second
    expm1: float  # expm1 is -1 below this
    terms: tuple[int, int]  # numbers of terms of the polynomials of exp and log


_FORMATS = {
    np.float32: _Format(np.int32, (0.693359375, -2.12194440054690583e-4), (-105, 89), -20, (8, 5)),
    np.float64: _Format(np.int64, (6.93147180369123816e-1, 1.90821492927058770e-10), (-747, 710),
                        -45, (14, 11)),
}  # fmt: skip


@cache
def functions(real: Any) -> dict[str, Any]:
    """Returns the functions that the code of a `Program` calls, for numbers of the type `real`."""
    form, info = _FORMATS[real], np.finfo(real)
    integer = form.integer
    digits, bias = integer(info.nmant), integer(info.maxexp - 1)
    zero, half, one, two, infinity, nan = map(real, (0, 0.5, 1, 2, np.inf, np.nan))
    log2_high, log2_low, per_log2 = real(form.log2[0]), real(form.log2[1]), real(1 / np.log(2))
    lowest, highest, flat = real(form.exp[0]), real(form.exp[1]), real(form.expm1)
    tiny, lift = info.tiny, real(info.nmant + 1)
    lifted, root_half = two**lift, real(0.5**0.5).view(integer)
    # (exp(r) - 1 - r) / r**2, and log((1 + s) / (1 - s)) / s - 2, a series in s**2
    exp_terms = tuple(real(1 / factorial(k)) for k in range(form.terms[0] - 1, 1, -1))
    log_terms = tuple(real(2 / (2 * k + 1)) for k in range(form.terms[1] - 1, 0, -1))

    sign = compiled(lambda a: where(a > zero, one, where(a < zero, -one, a)))
    power_of_two = compiled(lambda n: integer((n + bias) << digits).view(real))

    @compiled
    def reduced(x: Any) -> Any:
        """Returns n and exp(r) - 1, where x = n * log(2) + r and |r| is at most log(2) / 2."""
        n = np.floor(x * per_log2 + half)
        r = x - n * log2_high - n * log2_low
        return integer(n), r + r * r * horner(exp_terms, r)

    @compiled
    def exp(x: Any) -> Any:
        n, p = reduced(where(x == x, min(max(x, lowest), highest), x))
        first = n >> integer(1)  # 2**n may overflow or underflow; its two factors do not
        return (one + p) * power_of_two(first) * power_of_two(n - first)

    @compiled
    def expm1(x: Any) -> Any:
        n, p = reduced(where(x == x, min(max(x, flat), highest), x))
        # 2**n * p + 2**n - 1, computed from 2**(n - 1), because 2**n may overflow.
        scale = power_of_two(n - integer(1))
        return two * (scale * p + (scale - half))

    @compiled
    def log_plus(u: Any, c: Any) -> Any:
        """Returns log(u) + c, where c is a small correction.

        u = 2**n * (1 + f), with 1 + f between sqrt(1/2) and sqrt(2).

        log(1 + f) = f - h + s * (h + R), with h = f * f / 2, s = f / (2 + f), and R a series in s *
        s, as in fdlibm.
        """
        small = u < tiny  # subnormal: scaled up, and k is corrected
        x = real(where(small, u * lifted, u)).view(integer)
        n = integer(x - root_half) >> digits
        f = integer(x - (n << digits)).view(real) - one
        k = real(n) - where(small, lift, zero)
        s = f / (two + f)
        z = s * s
        square = half * f * f
        rest = s * (square + z * horner(log_terms, z)) + (k * log2_low + c)
        result = k * log2_high - ((square - rest) - f)
        return where(u > zero, where(u < infinity, result, u), where(u == zero, -infinity, nan))

    log = compiled(lambda x: log_plus(x, zero))

    @compiled
    def log1p(x: Any) -> Any:
        u = one + x
        # The correction is the relative rounding error of u.
        return log_plus(u, where(u < infinity, (x - (u - one)) / u, zero))

    @compiled
    def tanh(x: Any) -> Any:
        # tanh(|x|) = -t / (2 + t) keeps the digits near 0.
        t = expm1(-two * abs(x))
        y = t / (two + t)
        return where(x < zero, y, -y)

    return {
        "T": real, "inf": infinity, "nan": nan, "where": where, "sign": sign,
        "logical_not": logical_not, "maximum": maximum, "minimum": minimum, "fabs": abs,
        "sqrt": np.sqrt, "exp": exp, "expm1": expm1, "log": log, "log1p": log1p,
        "tanh": tanh,
    }  # fmt: skip

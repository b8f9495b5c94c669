"""The error function for arrays of any floating dtype. NumPy does not have it.

The range is divided in three: a rational function near 0, exp(-x^2) times a rational function up to
4, and a rational function of 1/x^2 beyond 4. Each is precise to 18 digits. Coefficients begin with
the highest power.

Source: W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
Computation 23 (1969), 631-637.
"""

from typing import Any

import numpy as np

from combinet.types import Floats

_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
     3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
     6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
     1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
     3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def erf(xp: Any, X: Floats) -> Floats:
    """Returns the error function of each element, precise to the dtype of X. NaN stays NaN."""
    size = xp.minimum(xp.abs(X), 6.0)  # 1 - erf(6) is 2e-17
    near = xp.minimum(size, 0.46875)
    tail = xp.clip(size, 0.46875, 4.0)
    result = 1 - xp.exp(-tail * tail) * _ratio(tail, _MIDDLE)
    if X.dtype == np.float64:  # in float32, erf(4) rounds to 1
        far = xp.maximum(size, 4.0)
        inverse = 1 / (far * far)
        ratio = (np.pi**-0.5 - inverse * _ratio(inverse, _FAR)) / far
        result = xp.where(size > 4.0, 1 - xp.exp(-far * far) * ratio, result)
    result = xp.where(size > 0.46875, result, near * _ratio(near * near, _NEAR))
    return xp.copysign(result, X)


def _ratio(X: Floats, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    return _polynomial(X, coefficients[0]) / _polynomial(X, coefficients[1])


def _polynomial(X: Floats, coefficients: tuple[float, ...]) -> Floats:
    total = X * coefficients[0]
    for coefficient in coefficients[1:-1]:
        total += coefficient
        total *= X
    total += coefficients[-1]
    return total

"""elementwise: values and slopes of formulas on each backend; invalid formulas."""

import ctypes
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet.ops.formulas.cuda_kernels import CONSTANTS, PREAMBLE
from combinet.ops.formulas.primitives import PRIMITIVES
from combinet.ops.formulas.program import Program, differentiate, trace
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import value_and_derivative

torch: Any = pytest.importorskip("torch")

# Each formula receives the module that computes it, NumPy or PyTorch.
FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "mish": lambda m, x: x * m.tanh(m.log1p(m.exp(x))),
    "swish": lambda m, x: x / (1 + m.exp(-x)),
    "sigmoid": lambda m, x: (1 + m.exp(-x)) ** -1,
    "softplus": lambda m, x: m.log(1 + m.exp(x)),
    "logaddexp": lambda m, x: m.logaddexp(x, m.sin(x)),
    "gelu": lambda m, x: 0.5 * x * (1 + m.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "elu": lambda m, x: m.where(x > 0, x, 1.5 * m.expm1(x)),
    "pieces": lambda m, x: m.where(
        (x < -1) | (x >= 2) & ~(x == 3) & (x != 4), x**2, m.where(x <= 0.2, -x, 3)
    ),
    "between": lambda m, x: m.clip(x * 0.7 - 0.1, -0.5, 1) ** 2,
    "largest": lambda m, x: m.maximum(m.minimum(m.sin(x), m.cos(x)), x / 10),
    "rational": lambda m, x: (x**4 - 2 * x) / (1 + x * x),
    "powers": lambda m, x: abs(x) ** 2.5 + (x * x) ** -0.7 + x**0 + x**1 + (2 + x * x) ** 0.5,
    "exponents": lambda m, x: 1.5**x + (1 + m.square(x)) ** m.sin(x),
    "gaussian": lambda m, x: m.exp(-m.square(x) / 2) * m.sign(x),
    "inverses": lambda m, x: m.arctan(x) + m.arcsinh(x) + m.reciprocal(3 + m.cosh(x)),
    "conditions": lambda m, x: x * (x > 0) - 2 * (x < 0.5) * x,
    "snake": lambda m, x: +x + m.sin(x) ** 2,
    "logs": lambda m, x: m.log(m.exp(x)) + m.log1p(m.square(x)) + m.log(3 + m.cos(x)),
    "no_slope": lambda m, x: m.sign(x) + 0.5,
    "line": lambda m, x: 3 - 2 * x,
    "itself": lambda m, x: x,
}
UNARY = [
    "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "absolute", "sign", "negative",
    "positive",
]  # fmt: skip
X = np.linspace(-6, 6, 603).reshape(3, -1) + 0.01234


class _Torch:
    """Functions of PyTorch, with numbers converted to tensors where PyTorch needs them."""

    def __getattr__(self, name: str) -> Any:
        def called(*args: Any) -> Any:
            if name == "clip":
                return torch.clip(*args)
            like = next(a for a in args if isinstance(a, torch.Tensor) and a.dtype != torch.bool)
            tensors = [torch.full_like(like, a) if isinstance(a, int | float) else a for a in args]
            return getattr(torch, name)(*tensors)

        return called


def by_torch(formula: Callable[[Any, Any], Any], X: Any) -> tuple[Any, Any]:
    x = torch.tensor(X, requires_grad=True)
    y = formula(_Torch(), x) + 0 * x
    y.sum().backward()
    assert x.grad is not None
    return y.detach().numpy(), x.grad.numpy()


def layer(name: str, ops: Any) -> Any:
    model = cb.elementwise(lambda x: FORMULAS[name](np, x), name=name)
    model.ops = ops
    return model


def program(function: Callable[[Any], Any]) -> Program:
    Y = trace("f", function)
    return Program(Y, differentiate(Y))


# -- values and slopes against PyTorch ---------------------------------------------------------


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_match_pytorch(name: str, ops: Any) -> None:
    Y, dX = value_and_derivative(layer(name, ops), X)
    expected_Y, expected_dX = by_torch(FORMULAS[name], X)
    np.testing.assert_allclose(Y, expected_Y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dX, expected_dX, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
@pytest.mark.parametrize("name", UNARY)
def test_functions_match_pytorch(name: str, ops: Any) -> None:
    points = np.linspace(0.01, 0.99, 50) + (1 if name == "arccosh" else 0)
    model = cb.elementwise(getattr(np, name))
    model.ops = ops
    assert model.name == name
    Y, dX = value_and_derivative(model, points)
    expected_Y, expected_dX = by_torch(lambda m, x: getattr(m, name)(x), points)
    np.testing.assert_allclose(Y, expected_Y, rtol=1e-12)
    np.testing.assert_allclose(dX, expected_dX, rtol=1e-10)


def test_formulas_and_functions_cover_all_primitives() -> None:
    used = {step.op for f in FORMULAS.values()
            for step in program(lambda x, f=f: f(np, x)).steps}  # fmt: skip
    assert used | set(UNARY) >= set(PRIMITIVES)


def test_number_as_condition_is_true_unless_0() -> None:
    model = cb.elementwise(lambda x: np.where(x, x * 3, 7) + np.where(x != 0, 0, 1))
    np.testing.assert_array_equal(model.predict(np.array([-1.0, 0.0, 2.0])), [-3, 8, 6])


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda m, a, b: a + b,
    "subtract": lambda m, a, b: a - b,
    "multiply": lambda m, a, b: a * b,
    "divide": lambda m, a, b: a / (1 + b * b),
    "tanh": lambda m, a, b: m.tanh(a),
    "exp": lambda m, a, b: m.exp(m.sin(a)),
    "softplus": lambda m, a, b: m.log1p(m.exp(m.sin(a))),
    "sigmoid": lambda m, a, b: 1 / (1 + m.exp(-a)),
    "where": lambda m, a, b: m.where(a > b, a, b * 2),
    "power": lambda m, a, b: (1 + a * a) ** m.sin(b),
    "number": lambda m, a, b: a * 0.75,
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 99), st.integers(0, 99)),
             min_size=1, max_size=12),
    st.lists(st.floats(-2, 2), min_size=1, max_size=5),
)  # fmt: skip
def test_random_programs_match_pytorch(steps: Any, points: Any) -> None:
    def formula(m: Any, x: Any) -> Any:
        values = [x]
        for name, i, j in steps:
            value = OPERATIONS[name](m, values[i % len(values)], values[j % len(values)])
            values.append(value if name in ("tanh", "where") else m.tanh(value))
        return values[-1] + x

    model = cb.elementwise(lambda x: formula(np, x))
    model.ops = cb.NumpyOps()
    points = np.array(points)
    Y, dX = value_and_derivative(model, points)
    expected_Y, expected_dX = by_torch(formula, points)
    np.testing.assert_allclose(Y, expected_Y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dX, expected_dX, rtol=1e-9, atol=1e-9)


# -- the whole range ---------------------------------------------------------------------------

EXTREMES = np.array([-1e30, -1000.0, -100.0, 100.0, 1000.0, 1e30])


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("mish", 0, 1), ("swish", 0, 1), ("sigmoid", 0, 0), ("softplus", 0, 1), ("elu", 0, 1)],
)
def test_slopes_are_right_where_exp_overflows(
    name: str, low: Any, high: Any, dtype: Any, ops: Any
) -> None:
    _, dX = value_and_derivative(layer(name, ops), EXTREMES.astype(dtype))
    np.testing.assert_allclose(dX, [low] * 3 + [high] * 3, atol=1e-30)


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
def test_where_ignores_the_branch_that_is_not_chosen(ops: Any) -> None:
    model = cb.elementwise(lambda x: np.where(x > 0, np.sqrt(x) + np.log(x) + 1 / x, x * x))
    model.ops = ops
    Y, dX = value_and_derivative(model, np.array([-3.0, 0.0, 4.0]))
    np.testing.assert_allclose(Y, [9, 0, 2.25 + math.log(4)], rtol=1e-15)
    np.testing.assert_allclose(dX, [-6, 0, 0.25 + 0.25 - 1 / 16], rtol=1e-15)


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
@pytest.mark.parametrize(
    ("function", "at", "expected"),
    [
        (lambda x: np.maximum(x, 0), 0.0, 0.0),
        (lambda x: np.maximum(0, x), 0.0, 0.0),
        (lambda x: np.minimum(1, x), 1.0, 0.0),
        (lambda x: np.clip(x, -1, 1), -1.0, 0.0),
        (lambda x: np.clip(x, None, 1), -9.0, 1.0),
        (np.abs, 0.0, 0.0),
        (lambda x: np.logaddexp(0, x), 0.0, 0.5),
        (lambda x: np.logaddexp(x, x), 3.0, 1.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**1.5, 0.0, 0.0),
    ],
)
def test_slopes_at_kinks_and_at_special_points(
    function: Any, at: float, expected: float, ops: Any
) -> None:
    model = cb.elementwise(function)
    model.ops = ops
    assert value_and_derivative(model, np.array([at]))[1] == [expected]


# -- backends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_numba_matches_numpy(name: str, dtype: Any) -> None:
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 3.0, 90.0, -90.0, 800.0, -800.0, 1e-40]
    points = np.concatenate([X.reshape(-1), special]).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    results = [
        value_and_derivative(layer(name, ops), points) for ops in (cb.NumpyOps(), cb.NumbaOps())
    ]
    # Cancellation magnifies the rounding errors, so the tolerance is several eps.
    for by_numpy, by_numba in zip(*results, strict=True):
        assert by_numpy.dtype == by_numba.dtype == dtype
        np.testing.assert_allclose(by_numba, by_numpy, rtol=64 * eps, atol=64 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh"])
def test_vectorized_functions_are_accurate_to_3_ulp(name: str, dtype: Any) -> None:
    """Compares with NumPy in the next larger format, which is long double on x86."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    spread = np.exp(rng.uniform(-80, 80, 4000)) * rng.choice([-1, 1], 4000)
    ends = [info.tiny, info.max, -info.max, info.smallest_subnormal, 0.0, -1.0, np.inf, -np.inf,
            np.nan, 88.72, 88.73, 709.78, 709.79, -87.4, -103.9, -104.0, -745.1]  # fmt: skip
    points = np.concatenate([rng.normal(size=4000) * 3, rng.normal(size=4000) * 100, spread, ends])
    points = points.astype(dtype)
    model = cb.elementwise(getattr(np, name))
    model.ops = cb.NumbaOps()
    Y = model.predict(points)
    larger = np.float64 if dtype == "float32" else np.longdouble
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(points.astype(larger))
        rounded = exact.astype(dtype)
    whole = np.isfinite(rounded)
    np.testing.assert_array_equal(Y[~whole], rounded[~whole])
    error = np.abs(Y[whole].astype(larger) - exact[whole])
    assert (error <= 3 * np.spacing(np.abs(rounded[whole]))).all()


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_is_preserved(dtype: Any, ops: Any) -> None:
    model = cb.elementwise(lambda x: np.where(x > 0, 1e-3, 2) * x + np.float64(0.5) + (x < 1) * 3)
    model.ops = ops
    Y, dX = value_and_derivative(model, np.array([-1.0, 2.0], dtype=dtype))
    assert Y.dtype == dX.dtype == dtype
    np.testing.assert_allclose(Y, [1.5, 0.502], rtol=1e-3)
    np.testing.assert_allclose(dX, [2, 1e-3], rtol=1e-3)


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
def test_large_and_non_contiguous_arrays_are_supported(ops: Any) -> None:
    big = floats(211, 307)  # 64777 elements: not a multiple of a block
    Y = layer("mish", ops).predict(big)
    np.testing.assert_allclose(Y, big * np.tanh(np.log1p(np.exp(big))), rtol=1e-13)
    for array, result in ((big.T, Y.T), (big[::2, 1::3], Y[::2, 1::3]), (big[3, 4], Y[3, 4])):
        np.testing.assert_array_equal(layer("mish", ops).predict(np.asarray(array)), result)


def test_positive_and_negative_zero_are_different_constants() -> None:
    def function(x: Any) -> Any:
        return np.where(x > 2, 0.0, np.where(x > 1, -0.0, x))

    for ops in (cb.NumpyOps(), cb.NumbaOps()):
        model = cb.elementwise(function)
        model.ops = ops
        assert np.signbit(model.predict(np.array([3.0, 1.5]))).tolist() == [False, True]


def _c_source(code: Any, number: int) -> str:
    lines, outputs = code
    body = [f"const auto {name} = {value};" for name, value in lines]
    body += [f"y{k}[i] = {name};" for k, name in enumerate(outputs)]
    arrays = "".join(f", T* y{k}" for k in range(len(outputs)))
    return (
        f"template <typename T> void f{number}(int n, const T* X{arrays}) {{ {CONSTANTS}\n"
        f"for (int i = 0; i < n; i++) {{ const T x = X[i];\n" + "\n".join(body) + "}}\n"
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles the kernels' code as C++")
def test_code_of_cuda_kernels_compiled_as_cpp_matches_pytorch(tmp_path: Path) -> None:
    programs = [program(lambda x, f=f: f(np, x)) for f in FORMULAS.values()]
    source = (
        "#include <cmath>\nusing std::exp; using std::log; using std::log1p; using std::tanh;\n"
    )
    source += "using namespace std;\n#define __device__ static\nnamespace kernels {\n" + PREAMBLE
    source += "".join(_c_source(p.code, k) for k, p in enumerate(programs))
    for k, p in enumerate(programs):
        for letter, real in (("f", "float"), ("d", "double")):
            names = [f"y{i}" for i in range(p.outputs)]
            source += (
                f'extern "C" void {letter}{k}(int n, const {real}* x'
                + "".join(f", {real}* {y}" for y in names)
                + f") {{ f{k}<{real}>(n, x{''.join(f', {y}' for y in names)}); }}\n"
            )
    (tmp_path / "all.cpp").write_text(source + "}\n")
    command = ["g++", "-O1", "-w", "-std=c++17", "-shared", "-fPIC", "-o", "all.so", "all.cpp"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    library = ctypes.CDLL(str(tmp_path / "all.so"))
    for k, (p, formula) in enumerate(zip(programs, FORMULAS.values(), strict=True)):
        for letter, rtol in (("f", 2e-5), ("d", 1e-9)):
            points = X.reshape(-1).astype(letter)
            outputs = [np.empty_like(points) for _ in range(p.outputs)]
            pointers = [ctypes.c_void_p(a.ctypes.data) for a in (points, *outputs)]
            getattr(library, f"{letter}{k}")(points.size, *pointers)
            found = [outputs[r] if isinstance(r, int) else np.full_like(points, r)
                     for r in p.results]  # fmt: skip
            expected = by_torch(formula, points.astype("float64"))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


# -- training and prediction -------------------------------------------------------------------


class _Noting(cb.NumpyOps):
    """Records the programs that it runs."""

    def __init__(self) -> None:
        self.programs: list[Program] = []

    def elementwise(self, program: Program, X: Any) -> Any:
        self.programs.append(program)
        return super().elementwise(program, X)


def test_prediction_computes_no_slope() -> None:
    ops = _Noting()
    model = layer("swish", ops)
    model.predict(X)
    value_and_derivative(model, X)
    assert [program.outputs for program in ops.programs] == [1, 2]
    # x / (1 + exp(-x)): exactly four steps
    assert [step.op for step in ops.programs[0].steps] == ["negative", "exp", "add", "divide"]


def test_given_derivative_is_used() -> None:
    through = cb.elementwise(np.sign, lambda x: 1.0, name="straight_through")
    Y, dX = value_and_derivative(through, X)
    np.testing.assert_array_equal(Y, np.sign(X))
    np.testing.assert_array_equal(dX, np.ones_like(X))


def test_model_with_a_formula_trains_in_float32() -> None:
    model: Any = cb.Linear(4) >> cb.elementwise(lambda x: FORMULAS["mish"](np, x)) >> cb.Softmax(2)
    data = floats(20, 3).astype("float32")
    labels = (data[:, 0] > 0).astype(int)
    model.initialize(data, np.eye(2, dtype="float32")[labels])
    loss, sgd = cb.CategoricalCrossentropy(), cb.Adam(0.05)
    losses = []
    for _ in range(60):
        Y, backprop = model.begin_update(data)
        assert Y.dtype == np.float32
        gradient, value = loss(Y, labels)
        backprop(gradient, sgd)
        losses.append(float(value))
    assert losses[-1] < 0.2 * losses[0]


# -- invalid formulas --------------------------------------------------------------------------

_generator = np.random.default_rng(0)


def _function_with_state(calls: list[int] = []) -> Callable[[Any], Any]:  # noqa: B006
    def function(x: Any) -> Any:
        calls.append(1)
        return x * len(calls)

    return function


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x if x > 0 else 0.1 * x, "np.where ... & ... | ... ~"),
        (lambda x: (x > 0 and x < 1) * x, "np.where ... & ... | ... ~"),
        (lambda x: max(x, 0), "np.maximum"),
        (lambda x: x * math.exp(x), "math.exp ... np.exp"),
        (lambda x: np.floor(x) * x, "np.floor ... absolute ... where"),
        (lambda x: np.sum(x), "np.sum"),
        (lambda x: np.add.reduce(x), "np.add ... arguments"),
        (lambda x: np.exp(x, dtype="float32"), "np.exp ... arguments"),
        (lambda x: x.mean(), "AttributeError ... np.mean"),
        (lambda x: x[0], "TypeError"),
        (lambda x: x % 2, "TypeError"),
        (lambda x: x * np.ones(3), "float64 ... (3,)"),
        (lambda x: x + 1j, "complex"),
        (lambda x: x * "a", "str"),
        (lambda x: x > 0, "condition"),
        (lambda x: (x > 0) + (x > 1), "np.add ... conditions"),
        (lambda x: np.where(x > 0, x > 1, x < 1) * 2.0, "np.where"),
        (lambda x: x & (x > 0), "np.logical_and ... conditions"),
        (lambda x: (x, lambda dY: dY), "tuple"),
        (lambda x: None, "NoneType"),
        (lambda x: 2.0, "2.0"),
        (lambda: 1.0, "0"),
        (lambda x, y: x + y, "1"),
        (lambda x: x * _generator.normal(), "random ... state"),
        (_function_with_state(), "random ... state"),
        (lambda x: x + unknown, r"NameError"),  # type: ignore[name-defined] # noqa: F821
    ],
)  # fmt: skip
def test_invalid_formula_is_refused(function: Any, message: str) -> None:
    with raises(cb.InputError, "bent", message):
        cb.elementwise(function, name="bent")
    if message != "2.0":  # a derivative may be constant
        with raises(cb.InputError, "derivative", "bent", message):
            cb.elementwise(lambda x: x, function, name="bent")


@pytest.mark.parametrize("value", [3, "tanh", None, cb.relu()])
def test_value_that_is_not_a_function_is_refused(value: Any) -> None:
    with raises(cb.InputError, "elementwise", "function"):
        cb.elementwise(value)
    if value is not None:
        with raises(cb.InputError, "elementwise", "derivative"):
            cb.elementwise(np.tanh, value)


def test_integers_are_refused() -> None:
    with raises(cb.InputError, "tanh", "int64"):
        cb.elementwise(np.tanh).predict(np.arange(3))


def test_layer_is_named_after_the_function_and_passes_widths_on() -> None:
    def bent(x: Any) -> Any:
        return np.tanh(x)

    assert cb.elementwise(bent).name == "bent"
    assert cb.elementwise(bent, name="other").name == "other"
    model = cb.Linear(4, 3) >> cb.elementwise(bent)
    assert model.get_dim("nO") == 4
    with pytest.raises(cb.DimensionError):
        cb.Linear(4, 3) >> cb.elementwise(bent) >> cb.Linear(2, 5)


def test_float16_on_gpu_is_preserved(strict: Any) -> None:
    model = cb.elementwise(lambda x: np.where(x > 0, x, 0.5 * x)).to_gpu(0)
    Y = model.predict(strict.asarray(np.array([-1.0, 3.0], dtype="float16")))
    assert Y.dtype == np.float16
    assert Y.get().tolist() == [-0.5, 3.0]

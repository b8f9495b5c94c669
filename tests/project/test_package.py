"""The package as a whole: which way imports go, what is public, what an import costs."""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import combinet as cb

PACKAGE = Path(cb.__file__).parent

# Files and packages from the bottom to the top: each imports only what stands before it.
ORDER = [
    "types", "errors", "foreign_names",
    "ops",
    "data", "packed", "packed_chain", "initializers", "schedules", "text",
    "slots", "store", "file_format", "optimizers", "losses",
    "layer", "tree", "shape_inference", "shapes", "inputs", "operators",
    "run", "allocation", "layout", "resizing", "saving", "node", "model",
    "combinators", "wrappers", "tuples", "grouping", "passes", "threads", "layers",
    "utilities", "testing",
    "__init__",
    "interop",
]  # fmt: skip

PUBLIC = [(name, getattr(cb, name)) for name in cb.__all__]
CONSTRUCTORS = [
    (name, value)
    for name, value in PUBLIC
    if inspect.isfunction(value) and "Model[" in str(inspect.signature(value).return_annotation)
]


def unit(path: Path) -> str:
    """The name in ORDER of the file or package that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Each part of combinet that a file imports, anywhere in it, by its name in ORDER."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, *rest = name.split(".")
            if top == "combinet":
                yield rest[0] if rest and rest[0] in ORDER else "__init__"


FILES = sorted(PACKAGE.rglob("*.py"))


def test_the_order_names_every_file() -> None:
    assert {unit(path) for path in FILES} <= set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = unit(path)
    # Within these, files import each other.
    packages = {"ops", "losses", "optimizers", "layers", "interop"}
    up = {
        name
        for name in imported(path)
        if ORDER.index(name) >= ORDER.index(here)
        and not (name == here and here in packages)
        and {name, here} != {"slots", "store"}  # one room, storage
    }
    assert not up


def test_nothing_imports_the_other_libraries_side_unasked() -> None:
    assert not [path for path in FILES if "interop" in imported(path) and unit(path) != "interop"]


def test_import_loads_numpy_and_msgpack_and_nothing_heavier(tmp_path: Path) -> None:
    heavy = ("numba", "cupy", "torch", "jax", "scipy", "sklearn", "thinc", "spacy", "onnx")
    for name in (*heavy, "safetensors"):
        (tmp_path / f"{name}.py").touch()  # as if it were installed
    code = (
        "import sys, numpy, msgpack, typing_extensions\n"
        "before = set(sys.modules)\n"
        "import combinet\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(tops - sys.stdlib_module_names))"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])},
    )  # fmt: skip
    assert ran.stdout.split() == ["combinet"]


# -- public names ------------------------------------------------------------------------------


def test_all_is_complete() -> None:
    own = {
        name
        for name, value in vars(cb).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert own == set(cb.__all__)
    assert len(cb.__all__) == len(set(cb.__all__))


def test_all_is_sorted_constants_then_classes_then_functions() -> None:
    assert cb.__all__ == sorted(
        cb.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )


def test_every_public_name_has_a_docstring() -> None:
    assert not [name for name, value in PUBLIC if len((value.__doc__ or "").strip()) < 6]


def methods() -> Iterator[tuple[str, Any]]:
    for name, value in PUBLIC:
        if inspect.isclass(value):
            for cls in value.__mro__:
                if cls.__module__.startswith("combinet"):
                    for attribute, member in vars(cls).items():
                        member = inspect.unwrap(getattr(member, "__func__", member))
                        if not attribute.startswith("_") and (
                            inspect.isfunction(member) or isinstance(member, property)
                        ):
                            yield f"{name}.{attribute}", member


def test_every_public_method_has_a_docstring() -> None:
    found = dict(methods())
    assert {"Model.begin_update", "Ops.asarray", "Optimizer.averages", "Run.over"} <= found.keys()
    assert not [name for name, member in found.items() if len((member.__doc__ or "").strip()) < 6]


@pytest.mark.parametrize(("name", "value"), CONSTRUCTORS, ids=[name for name, _ in CONSTRUCTORS])
def test_every_constructor_has_an_example_that_runs(name: str, value: Any) -> None:
    assert "Example:\n" in value.__doc__
    assert f"{name}(" in value.__doc__.partition("Example:\n")[2]
    assert ">>> " in value.__doc__


@pytest.mark.parametrize(("name", "value"), CONSTRUCTORS, ids=[name for name, _ in CONSTRUCTORS])
def test_constructors_that_own_weights_are_camel_case(name: str, value: Any) -> None:
    required = inspect.signature(value).parameters.values()
    if any(p.default is p.empty for p in required):
        return  # a combinator: it is made of other models
    owns = bool(value().param_names)
    assert name[0].isupper() == owns or name in ("Dropout", "Logistic")

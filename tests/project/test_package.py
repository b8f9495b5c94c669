"""The whole package: direction of imports, public names, modules that an import loads."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import combinet as cb
from helpers.commands import ROOT

PACKAGE = Path(cb.__file__).parent

# The rooms from bottom to top: each imports only earlier rooms. The list consists of the
# first word of each line in the block of docs/design.md after the comment.
BLOCK = re.compile(r"<!-- import order -->\n```\n(.*?)```", re.DOTALL)
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf8")
ORDER = [line.split()[0] for line in BLOCK.findall(DESIGN)[0].splitlines()]

PUBLIC = [(name, getattr(cb, name)) for name in cb.__all__]
CONSTRUCTORS = [
    (name, value)
    for name, value in PUBLIC
    if inspect.isfunction(value) and "Model[" in str(inspect.signature(value).return_annotation)
]


def room(name: str) -> str:
    """The entry of ORDER that contains a dotted name of the package."""
    found = [entry for entry in ORDER if f"{name}.".startswith(f"{entry}.")]
    return max(found, key=len, default="__init__")


def dotted(path: Path) -> str:
    """The dotted name of a file's module within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """The rooms that a file imports from, including imports inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "combinet":
                yield room(rest)


FILES = sorted(PACKAGE.rglob("*.py"))


def test_order_names_every_room() -> None:
    tops = {dotted(path).split(".")[0] for path in FILES}
    assert tops == {entry.split(".")[0] for entry in ORDER}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_lower_rooms(path: Path) -> None:
    here = room(dotted(path))
    up = {name for name in imported(path) if ORDER.index(name) > ORDER.index(here)}
    assert not up


ROOMS = [path for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.parent.relative_to(PACKAGE)))
def test_package_docstring_names_its_imports(path: Path) -> None:
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert doc
    assert "\n" not in doc.split("\n\n")[0]
    here = room(dotted(path.parent))
    if here == "interop" or path.parent.name in ("layers", "kernels"):
        return  # interop may import everything; kernels import nothing; the rooms of layers differ
    said = set(re.split(r",?\sand\s|,\s", doc.partition("Imports ")[2].rstrip(".")))
    files = [each for each in FILES if each.parent == path.parent]
    assert {name for each in files for name in imported(each)} - {here} == said - {here}


def test_no_other_room_imports_interop() -> None:
    assert not [
        path for path in FILES if "interop" in imported(path) and room(dotted(path)) != "interop"
    ]


def test_import_loads_only_numpy_and_msgpack(tmp_path: Path) -> None:
    heavy = ("numba", "cupy", "torch", "jax", "keras", "scipy", "sklearn", "thinc", "spacy", "onnx")
    for name in (*heavy, "safetensors"):
        (tmp_path / f"{name}.py").touch()  # simulate an installed library
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


def test_all_lists_every_public_name() -> None:
    own = {
        name
        for name, value in vars(cb).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name != "TYPE_CHECKING"
    }
    assert own == set(cb.__all__)


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
    assert {
        "Model.begin_update",
        "Ops.asarray",
        "Optimizer.averages",
        "Run.with_lengths",
    } <= found.keys()
    assert not [name for name, member in found.items() if len((member.__doc__ or "").strip()) < 6]


@pytest.mark.parametrize(("name", "value"), CONSTRUCTORS, ids=[name for name, _ in CONSTRUCTORS])
def test_every_constructor_has_an_example(name: str, value: Any) -> None:
    assert "Example:\n" in value.__doc__
    assert f"{name}(" in value.__doc__.partition("Example:\n")[2]
    assert ">>> " in value.__doc__


@pytest.mark.parametrize(("name", "value"), CONSTRUCTORS, ids=[name for name, _ in CONSTRUCTORS])
def test_constructors_with_weights_are_camel_case(name: str, value: Any) -> None:
    required = inspect.signature(value).parameters.values()
    if any(p.default is p.empty for p in required):
        return  # a combinator: it is made of other models
    owns = bool(value().param_names)
    assert name[0].isupper() == owns or name in ("Dropout", "Logistic")

"""The tests mirror the package: one folder per room; helpers are in one folder."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import combinet as cb
from helpers.commands import ROOT

PACKAGE, TESTS = Path(cb.__file__).parent, ROOT / "tests"
OTHERS = {"examples", "helpers", "project"}  # folders without a counterpart in the package
HELPERS = TESTS / "helpers"
MODULES = sorted(TESTS.rglob("*.py"))


def test_each_folder_is_a_room_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in MODULES} - {Path(), *map(Path, OTHERS)}
    assert [str(folder) for folder in sorted(folders) if not (PACKAGE / folder).is_dir()] == []


def test_module_names_are_unique() -> None:
    """pytest imports them as top-level modules."""
    names = [path.stem for path in MODULES if path.parent != HELPERS]
    assert sorted(names) == sorted(set(names))


def test_no_test_module_imports_another() -> None:
    names = {path.stem for path in MODULES if path.name.startswith("test_")}
    found = [(path.name, name) for path in MODULES for name in _imports(path) if name in names]
    assert found == []


def test_no_helper_is_defined_twice() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and "test_" not in node.name:
                places[node.name, _body(node)].append(path.name)
    assert [(name, where) for (name, _), where in places.items() if len(where) > 1] == []


# Fields of slots and stores that only the tests of storage and their helpers may read.
STORAGE = re.compile(
    r"\bslot\.\w+|\.slots\[[^]]*\]\.\w+|\.store\b|optimizer_states|\.overrides\b"
    r"|\.grad\.(count|rows|is_zero)|import (Slot|Store)\b"
)


def test_only_the_tests_of_storage_read_slots_and_stores() -> None:
    others = [
        path
        for path in MODULES
        if path.parent != TESTS / "storage" and path not in (HELPERS / "storage.py", Path(__file__))
    ]
    found = [(path.name, m[0]) for path in others for m in STORAGE.finditer(path.read_text())]
    assert found == []


def _imports(path: Path) -> set[str]:
    """The last parts of all imported names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(alias.name for alias in node.names)}
    return {name.rpartition(".")[2] for name in names}


def _body(node: ast.FunctionDef | ast.ClassDef) -> str:
    documented = ast.get_docstring(node) is not None
    return "".join(map(ast.dump, node.body[documented:]))

"""Type checkers reject invalid compositions and accept valid ones, without a plugin."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import ROOT

# A line ends with `# error` if both checkers must report an error, and with `# error for pyright`
# if mypy may join the types instead. On all other lines, neither may report one. The comment after
# `reveal_type` is the type that both must reveal, in the names of `combinet.types`.
SNIPPET = """\
from typing import Any

import numpy as np
from combinet import (
    LSTM, Dropout, Embed, LayerNorm, Linear, Maxout, Model, ParametricAttention, Ragged, Relu,
    Softmax,
    add, chain, clone, concatenate, expand_window, gelu, list2array, list2padded, list2ragged,
    map_list, noop, padded2list, ragged2list, reduce_mean, reduce_sum, relu, residual, tuplify,
    uniqued, with_array, with_flatten, with_padded, with_ragged, with_threads,
)
from combinet.types import Array, Floats2d, Ints

# Valid compositions.
dense: Model[Floats2d, Floats2d] = Linear() >> Relu() >> Maxout() >> LayerNorm() >> Softmax()
tagged: Model[Ints, Floats2d] = Embed() >> Linear()
pooled: Model[list[Array], Floats2d] = list2ragged() >> ParametricAttention() >> reduce_sum()
back: Model[list[Array], list[Array]] = list2padded() >> padded2list()
side: Model[Floats2d, Floats2d] = Linear() | Maxout()
summed: Model[Floats2d, Floats2d] = Linear() + Maxout()
power: Model[Floats2d, Floats2d] = Linear() ** 3
both: Model[Ints, Floats2d] = concatenate(Embed(), Embed())
added: Model[Floats2d, Floats2d] = add(Linear(), Relu(), expand_window())
around: Model[Floats2d, Floats2d] = residual(Linear() >> relu() >> Dropout())
copies: Model[Floats2d, Floats2d] = clone(Linear(), 3)
any_one = noop() >> with_flatten(Linear()) >> list2ragged() >> reduce_mean() >> Softmax()
two: Model[list[Array], Floats2d] = chain(list2ragged(), reduce_sum())
three: Model[list[Array], Floats2d] = chain(list2ragged(), reduce_sum(), Linear())
four: Model[list[Array], Floats2d] = chain(list2ragged(), reduce_sum(), Linear(), Relu())
five: Model[list[Array], Floats2d] = chain(list2ragged(), reduce_sum(), Relu(), relu(), Linear())
ten: Model[list[Array], Floats2d] = chain(
    list2ragged(), reduce_sum(), Relu(), relu(), gelu(), Relu(), relu(), gelu(), Relu(), Linear()
)
eleven: Model[list[Array], Any] = chain(list2ragged(), reduce_sum(), *[Relu() for _ in range(9)])
rows: Model[list[Floats2d], list[Floats2d]] = with_flatten(Linear(3))
recurrent: Model[Ragged, Ragged] = with_ragged(LSTM(4))
words: Model[list[Ints], list[Floats2d]] = with_threads(with_flatten(uniqued(Embed(3))))
items: Model[list[Ints], list[Floats2d]] = map_list(Embed(3))
on_ragged: Model[Ragged, Ragged] = with_array(Linear())
on_lists: Model[list[Array], list[Array]] = with_ragged(ParametricAttention())
pooled_array = list2ragged() >> with_array(Linear()) >> reduce_sum() >> Softmax()
reveal_type(with_flatten(Linear(3)))  # Model[list[Floats2d], list[Floats2d]]
reveal_type(with_flatten(Embed(3)))  # Model[list[Ints], list[Floats2d]]
reveal_type(pooled_array)  # Model[list[Array], Floats2d]
reveal_type(tuplify(Embed(3), noop()))  # Model[Ints, tuple[Floats2d, Any]]
reveal_type(residual(Linear()))  # Model[Floats2d, Floats2d]
reveal_type(rows[0])  # Model[Any, Any]
reveal_type(rows[:1])  # Model[Any, Any]
reveal_type(rows["linear"])  # Model[Any, Any]
text = with_flatten((Embed() | Embed()) >> Maxout()) >> list2ragged() >> reduce_sum() >> Softmax()
Y: Floats2d = pooled.predict([np.zeros((2, 3))])
Z: Floats2d = pooled([np.zeros((2, 3))])
W, backprop = pooled.begin_update([np.zeros((2, 3))])
dX = backprop(W)
same: Model[Floats2d, Floats2d] = dense.initialize().resize_output(3).to_cpu().copy()

# Invalid compositions.
Relu() >> reduce_sum()  # error
list2ragged() >> Linear()  # error
reduce_sum() >> list2ragged()  # error
Linear() >> Embed()  # error
ragged2list() >> padded2list()  # error
list2ragged() >> ParametricAttention() >> Softmax()  # error
Linear() | reduce_sum()  # error
Linear() + list2ragged()  # error
Embed() | Linear()  # error
list2ragged() ** 2  # error for pyright
residual(list2ragged())  # error
clone(reduce_sum(), 2)  # error
concatenate(Linear(), list2ragged())  # error for pyright
add(Linear(), reduce_sum())  # error for pyright
chain(list2ragged(), Linear())  # error
chain(list2ragged(), reduce_sum(), list2ragged())  # error
chain(Relu(), Relu(), Relu(), reduce_sum())  # error
chain(Relu(), Relu(), Relu(), Relu(), reduce_sum())  # error
chain(list2ragged(), Relu(), Relu(), Relu(), Relu())  # error
Linear() >> 3  # error
with_flatten(Linear(3)) >> reduce_sum()  # error
with_flatten(list2ragged()) >> list2ragged()  # error
with_ragged(reduce_sum())  # error
with_padded(ParametricAttention())  # error
chain(Relu(), Relu(), Relu(), Relu(), Relu(), Relu(), Relu(), Relu(), Relu(), Embed())  # error
pooled.predict(np.zeros((2, 3)))  # error
text_is: Model[Ragged, Floats2d] = pooled  # error
tags_is: Model[Ints, Ragged] = tagged  # error
"""

ALIASES = {
    "Floats2d": "ndarray[tuple[int, int], dtype[floating[Any]]]",
    "Ints": "ndarray[Any, dtype[integer[Any]]]",
    "Array": "ndarray[Any, dtype[Any]]",
}
LINES = dict(enumerate(SNIPPET.splitlines(), 1))


@pytest.fixture(scope="module")
def snippet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("typing") / "snippet.py"
    path.write_text(SNIPPET)
    return path


def compare(found: dict[int, str], *, pyright: bool) -> None:
    required = {i for i, line in LINES.items() if line.endswith("# error")}
    allowed = {i for i, line in LINES.items() if "# error" in line}
    wrong = {f"{LINES[i]}: {found[i]}" for i in found.keys() - allowed}
    missed = {LINES[i] for i in (allowed if pyright else required) - found.keys()}
    assert not wrong, "refused, though right"
    assert not missed, "accepted, though wrong"


def compare_revealed(found: dict[int, str]) -> None:
    shown = {}
    for i, message in found.items():
        kind = re.sub(r"\b(?:numpy|combinet(?:\.\w+)*)\.", "", message.rsplit(' is "', 1)[1][:-1])
        for alias, full in ALIASES.items():
            kind = kind.replace(full, alias)
        shown[i] = kind
    expected = {i: line for i, line in LINES.items() if line.startswith("reveal_type")}
    assert shown == {i: line.split("  # ")[1] for i, line in expected.items()}


def test_mypy_strict_finds_exactly_the_errors(
    snippet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pytest.importorskip("mypy.api")
    monkeypatch.chdir(ROOT)  # use the configuration and cache of the project
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    out, err, _ = api.run(["--strict", "--no-error-summary", "--hide-error-context", str(snippet)])
    found = re.findall(r"snippet\.py:(\d+): error: (.*)", out)
    assert not err
    compare({int(line): message for line, message in found}, pyright=False)
    revealed = re.findall(r"snippet\.py:(\d+): note: (Revealed type .*)", out)
    compare_revealed({int(line): message for line, message in revealed})


def test_basedpyright_finds_exactly_the_errors(snippet: Path) -> None:
    checker = shutil.which("basedpyright", path=str(Path(sys.executable).parent))
    if checker is None:
        pytest.skip("basedpyright is not installed")
    (snippet.parent / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "standard", "include": ["."], "extraPaths": [str(ROOT)]})
    )
    command = [checker, "--outputjson", "--pythonpath", sys.executable, "-p", str(snippet.parent)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    report = json.loads(ran.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    problems = [each for each in report["generalDiagnostics"] if each["severity"] == "error"]
    found = {each["range"]["start"]["line"] + 1: each["message"] for each in problems}
    compare(found, pyright=True)
    notes = [each for each in report["generalDiagnostics"] if each["severity"] == "information"]
    compare_revealed({each["range"]["start"]["line"] + 1: each["message"] for each in notes})


# -- no bare Any in the signatures of core, storage and combinators ----------------------------

ROOMS = ("types.py", "errors.py", "batches", "storage", "core", "combinators")
PACKAGE = ROOT / "combinet"
MODULES = sorted(
    path
    for room in ROOMS
    for path in ([PACKAGE / room] if room.endswith(".py") else (PACKAGE / room).glob("*.py"))
)

ALLOWED = {
    # The gradient has the type of X, or is None for ids; a union would need a check per call.
    "model.Backprop.__call__",
    # The content of a file may have any form; callers check it.
    "file_format.decode",
}


def is_bare(annotation: ast.expr | None) -> bool:
    """Whether an annotation is Any, or a union that contains Any."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return is_bare(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.BinOp):
        return is_bare(annotation.left) or is_bare(annotation.right)
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


def public_functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for each in body:
        if not isinstance(each, ast.FunctionDef | ast.ClassDef):
            continue
        if each.name.startswith("_") and not each.name.startswith("__"):
            continue
        if isinstance(each, ast.ClassDef):
            yield from public_functions(each.body, f"{prefix}.{each.name}")
        else:
            yield f"{prefix}.{each.name}", each


def test_no_public_signature_has_a_bare_any() -> None:
    bare = set()
    for path in MODULES:
        for name, function in public_functions(ast.parse(path.read_text()).body, path.stem):
            given = ast.walk(function.args)
            annotations = [each.annotation for each in given if isinstance(each, ast.arg)]
            if any(map(is_bare, [*annotations, function.returns])):
                bare.add(name)
    assert bare == ALLOWED

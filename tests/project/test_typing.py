"""Type checkers refuse wrong compositions, with no plugin, and accept right ones."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import ROOT

# A line ends with `# error` where both checkers have to find one, and with `# error for pyright`
# where mypy may join the types instead; everywhere else they must find none.
SNIPPET = """\
from typing import Any

import numpy as np
from combinet import (
    Dropout, Embed, LayerNorm, Linear, Maxout, Model, ParametricAttention, Ragged, Relu, Softmax,
    add, chain, clone, concatenate, expand_window, gelu, list2array, list2padded, list2ragged,
    noop, padded2list, ragged2list, reduce_mean, reduce_sum, relu, residual, with_array,
    with_flatten,
)
from combinet.types import Array, Floats2d, Ints

# Right compositions.
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
six: Model[list[Array], Any] = chain(list2ragged(), reduce_sum(), Relu(), relu(), gelu(), Linear())
text = with_flatten((Embed() | Embed()) >> Maxout()) >> list2ragged() >> reduce_sum() >> Softmax()
Y: Floats2d = pooled.predict([np.zeros((2, 3))])
Z: Floats2d = pooled([np.zeros((2, 3))])
W, backprop = pooled.begin_update([np.zeros((2, 3))])
dX = backprop(W)
same: Model[Floats2d, Floats2d] = dense.initialize().resize_output(3).to_cpu().copy()

# Wrong ones.
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
pooled.predict(np.zeros((2, 3)))  # error
text_is: Model[Ragged, Floats2d] = pooled  # error
tags_is: Model[Ints, Ragged] = tagged  # error
"""

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


def test_mypy_strict(snippet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("mypy.api")
    monkeypatch.chdir(ROOT)  # its configuration and its cache are those of the project
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    out, err, _ = api.run(["--strict", "--no-error-summary", "--hide-error-context", str(snippet)])
    found = re.findall(r"snippet\.py:(\d+): error: (.*)", out)
    assert not err
    compare({int(line): message for line, message in found}, pyright=False)


def test_basedpyright(snippet: Path) -> None:
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

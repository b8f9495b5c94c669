"""The README: its Python runs, and what it tells people to type is what CI runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from combinet.testing import check_layer
from helpers.commands import ROOT

README = (ROOT / "README.md").read_text(encoding="utf8")


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "tagger.combinet").exists()
    check_layer(names["Scale"](), np.random.default_rng(0).normal(size=(4, 3)))


def test_the_lines_without_make_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    commands = re.findall(r"^\t(\.venv/bin/.*)$", makefile, re.MULTILINE)
    shown = README.replace(" && ", "\n").replace(" &&\n", "\n")
    lines = [line.strip() for line in shown.splitlines()]
    for command in commands:
        if "pip install" not in command:
            assert command in lines


def test_ci_runs_what_people_run() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf8")

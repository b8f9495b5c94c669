"""docs/from-thinc.md against the installed Thinc, and against what combinet exports."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, NamedTuple

import pytest

import combinet as cb
from helpers.commands import ROOT

DOC = ROOT / "docs" / "from-thinc.md"
MISSING = "not in combinet"


class Row(NamedTuple):
    name: str
    counterpart: str
    differs: str


def _rows(text: str) -> list[Row]:
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line[:3] == "| `"]
    return [Row(*(cell.strip().strip("`") if i < 2 else cell.strip()
                  for i, cell in enumerate(row))) for row in cells]  # fmt: skip


TEXT = DOC.read_text(encoding="utf8")
NOW, _, BEFORE = TEXT.partition("## What Thinc of 2017 had besides")
ROWS, OLD = _rows(NOW), _rows(BEFORE)


def test_the_tables_are_read_whole() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    heads = [line for line in lines if line.startswith(("|---", "| Thinc |"))]
    assert len(ROWS) + len(OLD) == len(lines) - len(heads)
    assert len(ROWS) > 100
    assert len(OLD) > 5


def test_there_is_a_row_for_every_name_of_thinc_and_no_other() -> None:
    api = pytest.importorskip("thinc.api")
    names = [row.name for row in ROWS]
    assert sorted(names) == sorted(set(api.__all__))


@pytest.mark.parametrize("row", [*ROWS, *OLD], ids=lambda row: row.name)
def test_the_counterpart_is_there(row: Row) -> None:
    if row.counterpart == MISSING:
        assert row.differs.endswith("."), "a name that is missing has a reason"
        assert not hasattr(cb, row.name), "the row is out of date"
    else:
        found: Any = cb
        for part in row.counterpart.split("."):
            found = getattr(found, part)
        assert row.counterpart.split(".")[0] in cb.__all__
        same = row.name == row.counterpart or row in OLD
        assert same or not hasattr(cb, row.name), "the row is out of date"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`combinet\.(\w+)\.(\w+)`", TEXT))))
def test_names_in_other_modules_are_there(name: tuple[str, str]) -> None:
    assert hasattr(importlib.import_module(f"combinet.{name[0]}"), name[1])


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.name == row.counterpart and not row.differs],
    ids=lambda row: row.name,
)
def test_where_nothing_differs_the_arguments_are_the_same(row: Row) -> None:
    api = pytest.importorskip("thinc.api")
    theirs, ours = (_parameters(getattr(module, row.name)) for module in (api, cb))
    assert theirs <= ours, f"combinet's {row.name} does not take {theirs - ours}"

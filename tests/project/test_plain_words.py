"""Texts of the project are in plain English: no words that make a reader stop."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import ROOT

# Write "if nothing", "every layer", "to avoid", "next to", "the same", "initially" instead.
IDIOM = re.compile(
    r"\b(nobody|somebody|anybody|whoever|lest|alike|beside|anew|hereby|thereof|as at first"
    r"|and its kin|spare themselves|nothing of the kind|is to stay|is to move|gives? back"
    r"|(?<!there )(?<!There )(?:is|are) (?-i:no|none))\b(?! longer)",
    re.IGNORECASE,
)
FOLDERS = ("combinet", "docs", "examples", "benchmarks", "scripts", "tests")
FILES = [
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.*"))),
    *sorted(ROOT.glob("*.md")),
]


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with prose: of Markdown all, of Python comments and strings."""
    source = path.read_text(encoding="utf8")
    if path.suffix == ".md":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or tokenize.tok_name[token.type].startswith(
            ("STRING", "FSTRING")
        ):
            yield from enumerate(token.string.splitlines(), token.start[0])


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.suffix in (".md", ".py") and path != Path(__file__)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_private_idiom(path: Path) -> None:
    found = [f"{line}: {text.strip()}" for line, text in _texts(path) if IDIOM.search(text)]
    assert not found

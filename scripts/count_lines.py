"""Counts lines of code: lines with a Python token that is not a comment or a docstring.

    python scripts/count_lines.py                     count each folder of combinet/, and the total
    python scripts/count_lines.py --files tests       count each file of another folder too
    python scripts/count_lines.py --over 300          fail if a file has more than 300 lines

Blank lines, comment lines and docstrings are not counted. A statement or a string on several lines
counts as several lines.
"""

import argparse
import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> int:
    """Returns the number of lines of code in a Python source."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in SILENT | {tokenize.ENDMARKER}
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstring_lines(source))


def docstring_lines(source: str) -> set[int]:
    """Returns the numbers of the lines that contain docstrings."""
    docstrings = (
        node.body[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None
    )
    return {
        line
        for each in docstrings
        for line in range(each.lineno, (each.end_lineno or each.lineno) + 1)
    }


def count(folder: Path) -> dict[Path, int]:
    """Returns the lines of code of each file in a folder and its subfolders, by path."""
    return {
        path.relative_to(folder): code_lines(path.read_text(encoding="utf8"))
        for path in sorted(folder.rglob("*.py"))
    }


def main() -> int:
    """Prints the counts and returns the exit status, 1 if a file is over the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "combinet")
    parser.add_argument("--files", action="store_true", help="list each file")
    parser.add_argument("--over", type=int, metavar="N", help="fail if a file has more lines")
    args = parser.parse_args()
    files = count(args.folder)
    rooms: Counter[str] = Counter()
    for path, lines in files.items():
        rooms[str(path.parent)] += lines
    for name, lines in rooms.items():
        print(f"{lines:6,}  {name}/")
        for path, own in files.items():
            if args.files and str(path.parent) == name:
                print(f"{own:6,}      {path.name}")
    print(f"{sum(files.values()):6,}  in all")
    large = {path: n for path, n in files.items() if args.over is not None and n > args.over}
    for path, lines in large.items():
        print(f"{args.folder.name}/{path}: {lines} lines of code, more than {args.over}")
    return int(bool(large))


if __name__ == "__main__":
    sys.exit(main())

"""Python source as data for a sequence tagger: tokens, the role of each token, and colours.

`scan` cuts any text into documents (logical lines) of tokens. `label` returns the roles (the keys
of `COLOURS`) of the tokens of valid source. `modules` and `split` choose files of the standard
library to learn from, and `paint` colours source by role. The roles come from the syntax tree. A
tagger sees only the tokens, so it can also predict roles in source that no parser accepts, such as
`FRAGMENT`.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import keyword
import re
import sysconfig
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

COLOURS = {  # role -> number of the colour in an ANSI escape code
    "keyword": "35", "constant": "95", "function": "94", "class": "93", "parameter": "91",
    "attribute": "36", "variable": "39", "module": "33", "string": "32", "number": "96",
    "comment": "90", "operator": "37",
}  # fmt: skip
FRAGMENT = '''\
import json, os.path
@functools.lru_cache(maxsize=None)
def load(path, *, encoding="utf-8", limit=100
    """Return the rows of the file, newest first."""
    rows = [json.loads(line for line in open(path, encoding=encoding)
    return sorted(rows, key=lambda row: row["time"], reverse=True)[:limit]
<<<<<<< HEAD
class Cache(OrderedDict)
    def get(self, name, default=None):
        if name not in self and len(self.names) > 0x10
            raise KeyError(f"no {name!r} in {self.path}")   # is this right?
=======
        print('unknown name, name)
        return os.path.join(self.root, name
'''


class Token(NamedTuple):
    """A piece of source and its start in the str: line from 1, column from 0."""

    text: str
    line: int
    column: int


_NEWLINE = re.compile(r"\r\n|\r|\n")
_MARKS = "".join(  # characters that names may contain in addition to \w
    c for c in map(chr, range(128, 1 << 16)) if not c.isalnum() and f"a{c}".isidentifier()
)
_DIGITS = r"[0-9](?:_?[0-9])*"
_FIELD = r"""\{(?!\{)(?:[^{}'"\r\n]|'[^'\r\n]*'|"[^"\r\n]*"|\{[^{}\r\n]*\})*\}"""
_FSTRING = rf"(?:[^\\{{}}\r\n%s]|\\(?:\r\n|[^{{}}]|(?=[{{}}]))|\{{\{{|\}}\}}|{_FIELD})*"
_LEXEME = re.compile(  # matches at every position, so any text can be scanned
    rf"""
    (?P<space> [^\S\r\n]+ | \\(?:\r\n|\r|\n) )
  | (?P<newline> \r\n | \r | \n )
  | (?P<token> \#[^\r\n]*
      | (?:[fFtT][rR]?|[rR][fFtT])(?!'''|\""")(?:'{_FSTRING % "'"}'|"{_FSTRING % '"'}")
      | (?:[rRbBuU]{{0,2}}|[fFtT][rR]?|[rR][fFtT]) (?:
            '''[^'\\]*(?:(?:\\[\s\S]?|'(?!''))[^'\\]*)*(?:'''|\Z)
          | \"""[^"\\]*(?:(?:\\[\s\S]?|"(?!""))[^"\\]*)*(?:\"""|\Z)
          | '[^'\\\r\n]*(?:\\(?:\r\n|[\s\S])[^'\\\r\n]*)*'?
          | "[^"\\\r\n]*(?:\\(?:\r\n|[\s\S])[^"\\\r\n]*)*"?
        )
      | 0[xX](?:_?[0-9a-fA-F])+ | 0[oO](?:_?[0-7])+ | 0[bB](?:_?[01])+
      | (?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?{_DIGITS})?[jJ]?
      | [^\W0-9][\w{_MARKS}]*
      | \*\*= | //= | >>= | <<= | \.\.\. | [-+*/%@&|^=<>!:]= | \*\* | // | << | >> | ->
      | [\s\S] )
    """,
    re.VERBOSE,
)
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_STATEMENT = re.compile(  # "sure": words that cannot be inside brackets; the others can
    r"""(?P<sure>(?:assert|break|class|continue|def|del|elif|except|finally|global|import|nonlocal
                 |pass|raise|return|try|while|with)\b|from\s+[\w.]+\s+import\b)
      |(?:async|else|for|if)\b[^\r\n]*:[^\S\r\n]*(?:\#[^\r\n]*)?(?:[\r\n]|\Z)""",
    re.VERBOSE,
)


def scan(source: str) -> list[list[Token]]:
    """Cuts any text into documents: the tokens of one logical line each. Never raises.

    For valid source the tokens are the same as in the standard `tokenize`, without newlines and
    indentation; a string with its prefix is one token. Brackets and backslashes continue a line. A
    line with only a comment is a document. Errors have local effects: a string without a closing
    quote ends with the line (with three quotes, at the end of the text), a stray character is a
    token, and a bracket that is never closed ends before the next line that can only start a
    statement.

    Three cases differ from `tokenize`: f-strings that contain their own quotes, if the quotes are
    three; f-strings that contain their own quotes in a field that spans lines or nests braces more
    than twice; and names with marks beyond U+FFFF.
    """
    documents: list[list[Token]] = [[]]
    line, line_start, depth = 1, 0, 0
    for match in _LEXEME.finditer(source):
        text, kind = match[0], match.lastgroup
        if kind == "token":
            token = Token(text, line, match.start() - line_start)
            if depth and line > documents[-1][-1].line:
                statement = _STATEMENT.match(source, match.start())
                if statement and (statement["sure"] or token.column <= documents[-1][0].column):
                    documents.append([])
                    depth = 0
            documents[-1].append(token)
            depth = max(0, depth + _DEPTH.get(text, 0))
        elif kind == "newline" and not depth:
            documents.append([])
        if "\n" in text or "\r" in text:
            for newline in _NEWLINE.finditer(text):
                line, line_start = line + 1, match.start() + newline.end()
    return [document for document in documents if document]


_BUILTINS = {
    name: "class" if isinstance(value, type) else "function" if callable(value) else "constant"
    for name, value in vars(builtins).items()
    if not name.startswith("_")
}


@functools.lru_cache(maxsize=4096)
def _lexical_role(text: str) -> str:
    """Returns the role of a token of valid source as far as it does not depend on the context."""
    if text[0] == "#":
        return "comment"
    if text[-1] in "'\"":
        return "string"
    if text[0].isdigit() or (text[1:2].isdigit() and text[0] == "."):
        return "number"
    if keyword.iskeyword(text):
        return "constant" if text in ("True", "False", "None") else "keyword"
    return "variable" if text.isidentifier() else "operator"


class _Scope:
    """The roles of the names bound by a module, class, function, comprehension or type parameters.

    The values of `own` may also be "global" or "nonlocal". `seen` holds the names that are visible
    in the scope, nearest first. `inner` holds the names that are visible in nested scopes: all
    except the names of a class, which only its type parameters see. `walrus` is the scope where
    ":=" binds.
    """

    def __init__(self, kind: str, around: _Scope | None = None) -> None:
        self.own: dict[str, str] = {}
        self.walrus: _Scope = around.walrus if around and kind == "comprehension" else self
        inner: list[dict[str, str]] = around.inner if around else []
        self.inner: list[dict[str, str]] = inner if kind == "class" else [self.own, *inner]
        self.seen: list[dict[str, str]] = [self.own, *inner]
        if around and kind == "types":
            self.seen = [self.own, *around.seen]

    def bind(self, name: str, role: str = "variable") -> None:
        """Gives the name a role. The first role other than "variable" is kept."""
        names = self.seen[-1] if self.own.get(name) == "global" else self.own
        if names.get(name, "variable") == "variable":
            names[name] = role

    def resolve(self, name: str) -> str:
        """Returns the role that the name has where it is used in this scope."""
        roles = (names[name] for names in self.seen if names.get(name, "nonlocal") != "nonlocal")
        role = next(roles, None)
        if role == "global":
            role = self.seen[-1].get(name)
        return role or _BUILTINS.get(name, "variable")


class _Names(ast.NodeVisitor):
    """Finds the meaning of the names in a tree: visit the tree, then call `role`."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self.texts = [token.text for token in tokens]
        self.starts: dict[tuple[int, int], int] = {}  # line, column in UTF-8 -> token number
        self.ends: dict[tuple[int, int], int] = {}
        lines = _NEWLINE.split(source)
        for i, (text, line, column) in enumerate(tokens):
            column = len(lines[line - 1][:column].encode())
            self.starts[line, column] = i
            *before, text = _NEWLINE.split(text) if text[-1] in "'\"" else [text]
            self.ends[line + len(before), (0 if before else column) + len(text.encode())] = i
        self.scope = _Scope("module")
        self.scopes = [self.scope] * len(tokens)
        self.roles: dict[int, str] = {}  # roles that the grammar determines
        self.imported: dict[int, str] = {}  # y in "from x import y as z" -> "z"
        self.pairs = {*zip(self.texts, self.texts[1:], strict=False)}

    def role(self, i: int, before: str, after: str) -> str:
        """Returns the role of token `i`, given its neighbors on the logical line."""
        role = self.roles.get(i) or _lexical_role(self.texts[i])
        if role != "variable":
            return role
        if before in ("def", "class"):
            return "function" if before == "def" else "class"
        if before == ".":
            return "function" if after == "(" else "attribute"
        name = self.imported.get(i) or unicodedata.normalize("NFKC", self.texts[i])
        role = self.scopes[i].resolve(name)
        return self.guess(name) if role == "imported" else role

    def guess(self, name: str) -> str:
        """Returns the role of a name that "from module import" binds, as `label` describes it."""
        if name.lstrip("_")[:1].isupper() and not name.isupper():
            return "class"
        if (name, "(") in self.pairs or ("@", name) in self.pairs:
            return "function"
        return "module" if (name, ".") in self.pairs else "variable"

    def span(self, node: Any) -> range:
        """Returns the numbers of the node's tokens."""
        first = self.starts[node.lineno, node.col_offset]
        return range(first, self.ends[node.end_lineno, node.end_col_offset] + 1)

    def fix(self, numbers: Iterable[int], role: str) -> None:
        """Gives the names among these tokens the role."""
        names = (i for i in numbers if _lexical_role(self.texts[i]) == "variable")
        self.roles.update(dict.fromkeys(names, role))

    def visit_in(self, scope: _Scope, *nodes: Any) -> None:
        """Visits the nodes and assigns their tokens to the scope."""
        outer, self.scope = self.scope, scope
        for node in nodes:
            span = self.span(node)
            self.scopes[span.start : span.stop] = [scope] * len(span)
            self.visit(node)
        self.scope = outer

    def define(self, node: Any, kind: str, header: Iterable[Any], body: Iterable[Any]) -> None:
        """Visits a definition. Its header and body see its type parameters."""
        types = _Scope("types", self.scope)
        scope = _Scope(kind, types)
        for decorator in getattr(node, "decorator_list", []):
            self.visit(decorator)
        parameters = getattr(node, "type_params", [])
        for parameter in parameters:
            types.bind(parameter.name, "class")
        for part in filter(None, [*parameters, *header]):
            self.visit_in(types, part)
            if isinstance(part, ast.arg):
                scope.bind(part.arg, "parameter")
                self.roles[self.span(part)[0]] = "parameter"
        self.visit_in(scope, *body)

    def visit_FunctionDef(self, node: Any) -> None:
        named, args = not isinstance(node, ast.Lambda), node.args
        if named:
            self.scope.bind(node.name, "function")
        header = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
        header += [*args.defaults, *args.kw_defaults, getattr(node, "returns", None)]
        self.define(node, "function", header, node.body if named else [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.bind(node.name, "class")
        self.define(node, "class", [*node.bases, *node.keywords], node.body)

    def visit_TypeAlias(self, node: Any) -> None:
        self.roles[self.span(node)[0]] = "keyword"
        self.scope.bind(node.name.id, "class")
        self.define(node, "types", [], [node.value])

    def visit_ListComp(self, node: Any) -> None:
        scope = _Scope("comprehension", self.scope)
        self.visit(node.generators[0].iter)
        for i, part in enumerate(node.generators):
            self.visit_in(scope, part.target, *part.ifs, *([part.iter] if i else []))
        self.visit_in(scope, *(getattr(node, field) for field in node._fields[:-1]))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.scope.walrus.bind(node.target.id)
        self.visit(node.value)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        if self.scope.own is not self.scope.seen[-1]:
            self.scope.own.update(dict.fromkeys(node.names, type(node).__name__.lower()))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.scope.bind(alias.asname or alias.name.split(".")[0], "module")
        self.fix(self.span(node), "module")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = self.imported[self.span(alias)[0]] = alias.asname or alias.name
            self.scope.bind(name, "imported" if node.module else "module")
        self.fix(range(self.span(node)[0], self.span(node.names[0])[0]), "module")

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.scope.bind(node.id)

    def visit_Constant(self, node: ast.AST) -> None:
        """Does nothing, also for an f-string, because it is one token."""

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.roles[self.span(node)[0]] = "parameter"
        self.visit(node.value)

    def visit_ExceptHandler(self, node: Any) -> None:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            self.scope.bind(name)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        self.roles[self.span(node)[0]] = "keyword"
        for case in node.cases:
            span = self.span(case.pattern)
            before = range(span[0] - 1, -1, -1)
            self.roles[next(i for i in before if self.texts[i] == "case")] = "keyword"
            self.fix((i for i in span if self.texts[i] == "_"), "keyword")
            self.fix((i for i in span if self.texts[i + 1] == "="), "attribute")
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef
    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp
    visit_Nonlocal = visit_Global
    visit_JoinedStr = visit_TemplateStr = visit_Constant
    visit_MatchAs = visit_MatchStar = visit_MatchMapping = visit_ExceptHandler


def label(source: str) -> list[tuple[list[str], list[str]]]:
    """Returns the words and their roles for every document that `scan` finds in Python source.

    Raises SyntaxError for source that does not parse. The role of a name depends on what binds it
    in its scope: import ("module"), def ("function"), class or type parameter ("class"), parameter,
    else "variable". A name without a binding has the role of the builtin, if there is one. The tree
    does not say what "from m import x" imports: x is "module" if m consists of dots, else "class"
    if x is in CapWords, "function" if the file contains "x(" or "@x", "module" if it contains "x.",
    else "variable". After a dot, a name is "function" if it is called, else "attribute". The name
    in a keyword argument is "parameter", in a class pattern "attribute".
    """
    documents = scan(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        names = _Names(source, [token for document in documents for token in document])
        names.visit(tree)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(f"expected source that can be parsed: {error}") from error
    numbers = iter(range(len(names.texts)))
    labelled = []
    for document in documents:
        words = [token.text for token in document]
        around = zip(["", *words], [*words[1:], ""], strict=False)
        labelled.append((words, [names.role(next(numbers), *pair) for pair in around]))
    return labelled


_STDLIB = Path(sysconfig.get_path("stdlib"))
_LEFT_OUT = {"test", "tests", "idle_test", "lib2to3", "encodings", "pydoc_data", "msilib"}


def _module(path: Path) -> tuple[str, ...]:
    """Returns the parts of the dotted name of a file's module."""
    inside = path.relative_to(_STDLIB) if path.is_relative_to(_STDLIB) else path
    return inside.with_suffix("").parts


def modules() -> list[Path]:
    """Returns the Python files of this interpreter's standard library, sorted.

    Tests, codecs and other tables are left out, and so are files whose path is not a module name,
    such as those in site-packages.
    """
    files = ((path, _module(path)) for path in _STDLIB.rglob("*.py"))
    return sorted(f for f, m in files if all(p.isidentifier() and p not in _LEFT_OUT for p in m))


def split(paths: Iterable[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Returns train, dev and test files, about 8:1:1, by a hash of the name of each module."""
    parts: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
    for path in paths:
        digest = hashlib.sha256(".".join(_module(path)).encode()).digest()
        parts[max(0, digest[0] % 10 - 7)].append(path)
    return parts


def legend() -> str:
    """Returns the names of the roles in their colours."""
    return " ".join(f"\x1b[{code}m{role}\x1b[0m" for role, code in COLOURS.items())


def paint(source: str, roles: Sequence[Sequence[str]]) -> str:
    """Returns the source with its tokens coloured, given the roles for the documents of `scan`.

    Without the escape codes the text is the same. A token whose role is not in `COLOURS` has no
    colour. Raises ValueError if the number of roles differs from the number of tokens.
    """
    starts = [0, *(newline.end() for newline in _NEWLINE.finditer(source))]
    painted, done = [], 0
    for document, its_roles in zip(scan(source), roles, strict=True):
        for (text, line, column), role in zip(document, its_roles, strict=True):
            start, code = starts[line - 1] + column, COLOURS.get(role)
            painted += [source[done:start], f"\x1b[{code}m{text}\x1b[0m" if code else text]
            done = start + len(text)
    return "".join(painted) + source[done:]

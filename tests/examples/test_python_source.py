"""Python source as data: tokens compared with `tokenize`, roles with hand-written ones."""

from __future__ import annotations

import ast
import io
import keyword
import random
import re
import sys
import tokenize
from pathlib import Path

import pytest

import python_source as ps

DROPPED = {"NEWLINE", "NL", "INDENT", "DEDENT", "ENCODING", "ENDMARKER"}
JUNK = ["'", '"', "'''", '"""', 'f"', "f'''{", "{", "}", "(", ")", "[", "\\", "\n", "\r", "\r\n"]
JUNK += ["#", "\0", "\f", "\t", "  ", "x", "é", "\u0301", "\ufeff", "☃", "\ud800", "²", "\xa0"]
JUNK += ["0x", "1_", "1e", ".", "...", "def ", "return ", "if x:", "\n    class", ":=", "!"]
JUNK += ["\U0001d518", "$"]


def tokens_of_tokenize(source: str) -> list[list[tuple[str, int, int]]]:
    """Returns the expected result of `scan`, computed with the standard tokenizer."""
    lines = io.StringIO(source).readlines()
    documents: list[list[tuple[str, int, int]]] = [[]]
    depth, start = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name in ("FSTRING_START", "TSTRING_START"):
            start = start if depth else token.start
            depth += 1
        elif name in ("FSTRING_END", "TSTRING_END"):
            depth -= 1
            if not depth:
                *before, last = lines[start[0] - 1 : token.end[0]]
                text = "".join([*before, last[: token.end[1]]])[start[1] :]
                documents[-1].append((text, *start))
        elif not depth and name not in DROPPED:
            documents[-1].append((token.string, *token.start))
        elif name == "NEWLINE" or (name == "NL" and [t[0][0] for t in documents[-1]] == ["#"]):
            documents.append([])
    return [document for document in documents if document]


def words(source: str) -> list[list[str]]:
    """Returns the documents of `scan` without positions."""
    return [[token.text for token in document] for document in ps.scan(source)]


def names(source: str) -> str:
    """Returns "name:role" for all tokens that are identifiers but not hard keywords."""
    return " ".join(
        f"{word}:{role}"
        for document in ps.label(source)
        for word, role in zip(*document, strict=True)
        if word.isidentifier() and not keyword.iskeyword(word)
    )


def unpaint(painted: str) -> str:
    """Returns the text without escape codes."""
    return re.sub(r"\x1b\[[0-9]*m", "", painted)


def check_any_text(source: str) -> None:
    """Checks any text: token positions are correct; painting does not change the text."""
    documents = ps.scan(source)
    ends = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", source))]
    done = 0
    for token in (token for document in documents for token in document):
        start = ends[token.line - 1] + token.column
        assert source[start : start + len(token.text)] == token.text
        assert not source[done:start].replace("\\", "").strip()
        done = start + len(token.text)
    assert not source[done:].replace("\\", "").strip()
    roles = [[random.choice([*ps.COLOURS, "?"]) for _ in document] for document in documents]
    assert unpaint(ps.paint(source, roles)) == source


def test_tokens_of_the_standard_library_match_tokenize() -> None:
    agree, differ = 0, []
    for path in ps.modules()[::3]:
        source = path.read_text("utf-8")
        try:
            expected = tokens_of_tokenize(source)
        except (SyntaxError, tokenize.TokenError):
            continue
        if ps.scan(source) == expected:
            agree += 1
        else:
            differ.append(path)
    assert agree >= 140
    assert not differ, "every module must agree with tokenize"


@pytest.mark.parametrize(
    "source",
    [
        "x = 1if y else 0x_fFor z\n",
        "a = 0b1_0, 0o17, 1_000.5e-1_0j, .5J, 1., 1.e5, 00, 1..real\n",
        "x = rb'a\\'b', Rb\"\", U'', BR'''a\n'b''c'''\n",
        "x = f'{a!r:>{w}}' f\"{d['k']}\" rf'\\d{x}' F'''{\na\n}''' f'{{' fr\"\\\"\"\n",
        "x = f'{x:\">4}' f\"{ {1: 2}[1] }\" f'\\N{DASH}{a}' f'''a\\'{b}'c'''\n",
        "x = 'a\\\nb' + \\\n  c # d\n\n  # e\n\f\ny = (1,\n# f\n\n2)\n",
        "a **= b // c >> d != e -> f\n*_, x = y; z: int = lambda: ...\n",
        "x = '''a\r\nb''' + y\r\nz = 'é', '\U0001d518', naïve, 变量\r\n",
        "x = (a\nif b else [c\nfor c in d])\n",
        "def f():\n\tif x:\n\t    return '''a\nb''' if y else z\n",
    ],
)
def test_tokens_match_tokenize(source: str) -> None:
    assert ps.scan(source) == tokens_of_tokenize(source)


def test_nested_quotes_in_an_fstring_work_on_every_version() -> None:
    assert words('f(f"{d["a"]}, {f"{x:>{w}}"}", 1)') == [
        ["f", "(", 'f"{d["a"]}, {f"{x:>{w}}"}"', ",", "1", ")"]
    ]


def test_combining_marks_belong_to_a_name() -> None:
    assert words("cafe\u0301 = हिन्दी") == [["cafe\u0301", "=", "हिन्दी"]]


@pytest.mark.parametrize(
    ("source", "documents"),
    [
        ("x = 'abc\ny", [["x", "=", "'abc"], ["y"]]),
        ('f(f"a {b\ny)', [["f", "(", 'f"a {b', "y", ")"]]),
        ("x = '''abc\ny", [["x", "=", "'''abc\ny"]]),
        ("f(a, [b\ndef g(): c", [[*"f(a,[b"], ["def", "g", "(", ")", ":", "c"]]),
        ("if f(x:\n    return y", [["if", "f", "(", "x", ":"], ["return", "y"]]),
        ("f(x\nif y:\n z", [["f", "(", "x"], ["if", "y", ":"], ["z"]]),
        ("x = )\ny ]", [["x", "=", ")"], ["y", "]"]]),
        ("a $ ? ☃ \\ b\0", [["a", "$", "?", "☃", "\\", "b", "\0"]]),
        ("a\\", [["a", "\\"]]),
        (" \n\f\n \\\n", []),
    ],
)
def test_syntax_error_affects_only_its_statement(source: str, documents: list[list[str]]) -> None:
    assert words(source) == documents


def test_random_text_can_be_scanned_and_painted() -> None:
    generator = random.Random(0)
    for length in list(range(12)) * 100:
        check_any_text("".join(generator.choices(JUNK, k=length)))
    check_any_text("".join(generator.choices(JUNK, k=20_000)))
    check_any_text('f"{' * 2_000 + "(" * 20_000 + "\n" + "if" * 9)


def test_hypothesis_text_can_be_scanned_and_painted() -> None:
    hypothesis = pytest.importorskip("hypothesis")
    pieces = hypothesis.strategies.lists(hypothesis.strategies.sampled_from(JUNK)).map("".join)
    texts = hypothesis.strategies.text().filter(lambda text: "\x1b" not in text)
    settings = hypothesis.settings(deadline=None, database=None, derandomize=True)
    settings(hypothesis.given(pieces | texts)(check_any_text))()


CASES = {
    "imports": (
        "import os.path, re as regex\nfrom .a.b import *\nfrom . import util\n"
        "from m import Path, walk, sub, PI, tree as t\nwalk(sub.x, PI, t.y, Path)\n"
        "os.sep; regex; re",
        "os:module path:module re:module regex:module a:module b:module util:module m:module "
        "Path:class walk:function sub:module PI:variable tree:module t:module walk:function "
        "sub:module x:attribute PI:variable t:module y:attribute Path:class os:module "
        "sep:attribute regex:module re:variable",
    ),
    "definitions before and after use": (
        "def f(): return g(C)\ndef g(): pass\nclass C(B): pass\nf = f or C().run(f.x)",
        "f:function g:function C:class g:function C:class B:variable f:function f:function "
        "C:class run:function f:function x:attribute",
    ),
    "parameters": (
        "def f(a, /, b: a = a, *c, d, **e) -> b:\n    a = b.a(a=c)\n    return a, d, e\na, f(d=a)",
        "f:function a:parameter b:parameter a:variable a:variable c:parameter d:parameter "
        "e:parameter b:variable a:parameter b:parameter a:function a:parameter c:parameter "
        "a:parameter d:parameter e:parameter a:variable f:function d:parameter a:variable",
    ),
    "lambda": (
        "f = lambda x, y=x: x + y + z\nx",
        "f:variable x:parameter y:parameter x:variable x:parameter y:parameter z:variable "
        "x:variable",
    ),
    "nested functions": (
        "def f(x):\n  def g(y): return x, y, h\n  def h(): x = 1; return x\n  return y",
        "f:function x:parameter g:function y:parameter x:parameter y:parameter h:function "
        "h:function x:variable x:variable y:variable",
    ),
    "a method does not see its class": (
        "class A:\n  def run(self): return run, x\n  x = run\n  y = [x for _ in x]\n",
        "A:class run:function self:parameter run:variable x:variable x:variable run:function "
        "y:variable x:variable _:variable x:variable",
    ),
    "the first iterable of a comprehension is outside it": (
        "class A:\n  def it(): pass\n  x = [it for a in it for b in it]\n"
        "def f(a): return {a: b for a in a for b in a}, a",
        "A:class it:function x:variable it:variable a:variable it:function b:variable it:variable "
        "f:function a:parameter a:variable b:variable a:variable a:parameter b:variable a:variable "
        "a:parameter",
    ),
    "global": (
        "def f(g):\n  def h():\n    global g, k\n    def k(): pass\n    return g\n  return g, k\n"
        "def g(): pass\nk",
        "f:function g:parameter h:function g:function k:function k:function g:function "
        "g:parameter k:function g:function k:function",
    ),
    "nonlocal": (
        "def x(): pass\ndef f(x):\n  def g():\n    nonlocal x\n    x = 1\n  return x",
        "x:function f:function x:parameter g:function x:parameter x:parameter x:parameter",
    ),
    "except, with, for and walrus": (
        "import e, w, i, n\ndef f(p):\n  try: pass\n  except OSError as e: e\n  with p as w: w\n"
        "  for i in p: [n := i for j in p]\n  return n, j",
        "e:module w:module i:module n:module f:function p:parameter OSError:class e:variable "
        "e:variable p:parameter w:variable w:variable i:variable p:parameter n:variable "
        "i:variable j:variable p:parameter n:variable j:variable",
    ),
    "match": (
        "import a, b, c, d\ndef match(case, _):\n match case:\n"
        "  case A.X | {'k': a, **b} | P(x=_, y=(1|2)) as c: a, b, c\n  case (case): _\n"
        "  case [*_, (*d,)] if _: match(d)\n",
        "a:module b:module c:module d:module match:function case:parameter _:parameter "
        "match:keyword case:parameter case:keyword A:variable X:attribute a:variable b:variable "
        "P:variable x:attribute _:keyword y:attribute c:variable a:variable b:variable c:variable "
        "case:keyword case:parameter _:parameter case:keyword _:keyword d:variable _:parameter "
        "match:function d:variable",
    ),
    "soft keywords as names": (
        "match = case = type(_)\nmatch.case(type=type)",
        "match:variable case:variable type:class _:variable match:variable case:function "
        "type:parameter type:class",
    ),
    "builtins": (
        "print(int, ValueError, NotImplemented, __name__)\ndef f(len): return len(max)\nlen",
        "print:function int:class ValueError:class NotImplemented:constant __name__:variable "
        "f:function len:parameter len:parameter max:function len:function",
    ),
    "decorators": (
        "from m import d\n@d\n@x.setter\n@x.make(k=1)\nasync def f(): await f()\n@d\nclass C: pass",
        "m:module d:function d:function x:variable setter:attribute x:variable make:function "
        "k:parameter f:function f:function d:function C:class",
    ),
    "optional imports stay modules": (
        "try: import json\nexcept E: json = None\njson",
        "json:module E:variable json:module json:module",
    ),
    "columns count bytes in the tree": ("é = 'éé'; x.é(é=é)", "é:variable x:variable é:function "
        "é:parameter é:variable"),
    "names are normalised": ("def ﬁx(): pass\nfix", "ﬁx:function fix:function"),
    "an f-string is one token": ("def f(x): return f'{x} {(x := 1)}', x", "f:function "
        "x:parameter x:parameter"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_roles_of_names(case: str) -> None:
    source, expected = CASES[case]
    assert names(source) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are new in Python 3.12")
def test_roles_of_type_parameters() -> None:
    source = (
        "import T\ntype L[T: int] = list[T]\nclass C[*T](B[T]):\n  K = 1\n"
        "  def f[**K](self, x: K) -> T: return K, x\nT, L, K\ntype = 1"
    )
    assert names(source) == (
        "T:module type:keyword L:class T:class int:class list:class T:class C:class T:class "
        "B:variable T:class K:variable f:function K:class self:parameter x:parameter K:class "
        "T:class K:class x:parameter T:module L:class K:variable type:variable"
    )


def test_roles_of_all_tokens() -> None:
    source = "# note\nif x is not None and True:\n    y += [.5, 0x1f, b'a', ...]  # z\n"
    assert [list(zip(*document, strict=True)) for document in ps.label(source)] == [
        [("# note", "comment")],
        [
            ("if", "keyword"),
            ("x", "variable"),
            ("is", "keyword"),
            ("not", "keyword"),
            ("None", "constant"),
            ("and", "keyword"),
            ("True", "constant"),
            (":", "operator"),
        ],
        [
            ("y", "variable"),
            ("+=", "operator"),
            ("[", "operator"),
            (".5", "number"),
            (",", "operator"),
            ("0x1f", "number"),
            (",", "operator"),
            ("b'a'", "string"),
            (",", "operator"),
            ("...", "operator"),
            ("]", "operator"),
            ("# z", "comment"),
        ],
    ]


@pytest.mark.parametrize("source", [ps.FRAGMENT, "x = (", "\0", "'\ud800'", "-" * 100_000 + "1"])
def test_source_that_does_not_parse_has_no_labels(source: str) -> None:
    with pytest.raises(SyntaxError):
        ps.label(source)


def test_labels_belong_to_the_documents_of_scan() -> None:
    seen: set[str] = set()
    for path in ps.modules()[::25]:
        source = path.read_text("utf-8")
        labelled = ps.label(source)
        assert [document for document, _ in labelled] == words(source)
        assert all(len(document) == len(roles) for document, roles in labelled)
        seen.update(role for _, roles in labelled for role in roles)
    assert seen == set(ps.COLOURS)


def test_fragment_is_short_and_does_not_parse() -> None:
    with pytest.raises(SyntaxError):
        ast.parse(ps.FRAGMENT)
    assert 12 <= len(ps.FRAGMENT.splitlines()) <= 20
    assert len(ps.scan(ps.FRAGMENT)) >= 12


def test_modules_are_the_standard_library_without_its_tests() -> None:
    paths = ps.modules()
    assert paths == sorted(set(paths)) == ps.modules()
    parts = [part for path in paths for part in ps._module(path)]
    assert {"json", "decoder", "argparse", "asyncio"} <= set(parts)
    assert not {"site-packages", "test", "tests", "idle_test", "encodings"} & set(parts)


def test_split_depends_on_the_module_name() -> None:
    paths = ps.modules()
    train, dev, test = ps.split(paths)
    assert sorted(train + dev + test) == paths
    assert 0.72 < len(train) / len(paths) < 0.88
    assert min(len(dev), len(test)) > 0.05 * len(paths)
    assert ps.split(reversed(paths)) == (train[::-1], dev[::-1], test[::-1])
    few = [Path("os.py"), Path("re.py"), Path("ast.py"), Path("json/decoder.py")]
    assert ps.split(few) == ([few[0], few[3]], [few[1]], [few[2]])


def test_paint_colours_tokens_by_role_and_keeps_the_rest() -> None:
    painted = ps.paint("x  =\t1\n", [["variable", "?", "number"]])
    assert painted == "\x1b[39mx\x1b[0m  =\t\x1b[96m1\x1b[0m\n"
    for roles in ([], [["number"]], [["number"] * 3] * 2):
        with pytest.raises(ValueError, match="zip"):
            ps.paint("x = 1", roles)

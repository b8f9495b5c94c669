"""Features of words: hashes, stability across processes, word shapes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet.text import DEFAULT, features, hash_text, lower, prefix, shape, suffix
from helpers.errors import raises

DOCS = [["The", "tagger", "the"], [], ["München", "2026", "😀", "", "naïve"]]


def blake(text: str, salt: int) -> int:
    """The documented hash: 8 bytes of BLAKE2b, with the column as salt, little-endian."""
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8, salt=salt.to_bytes(16, "little")).digest()
    return sum(byte << 8 * i for i, byte in enumerate(digest))


def expected_row(word: str) -> list[int]:
    texts = [word.lower(), word[:1], word[-3:], shape(word)]
    return [blake(text, column) for column, text in enumerate(texts)]


def test_features_are_hashes_salted_with_their_column() -> None:
    for rows, doc in zip(features(DOCS), DOCS, strict=True):
        assert rows.tolist() == [expected_row(word) for word in doc]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(), max_size=8), max_size=4), max_size=4))
def test_features_work_for_any_text(docs: list[list[str]]) -> None:
    found = features(docs)
    assert [rows.shape for rows in found] == [(len(doc), 4) for doc in docs]
    assert all(rows.dtype == np.uint64 for rows in found)
    assert [rows.tolist() for rows in found] == [[expected_row(w) for w in doc] for doc in docs]


def test_hash_never_changes() -> None:
    """The output of `printf word | b2sum -l 64`, with its bytes reversed."""
    assert hash_text("word") == int.from_bytes(bytes.fromhex(PINNED), "little")


PINNED = "4aa4cf27d7c78e95"


def test_features_are_the_same_in_another_process() -> None:
    code = f"from combinet.text import features; print([x.tolist() for x in features({DOCS!r})])"
    root = str(Path(cb.__file__).parents[1])
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root, "PYTHONUTF8": "1"}
        run = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == str([rows.tolist() for rows in features(DOCS)])


def test_features_accept_lone_surrogates() -> None:
    (rows,) = features([["\udc80", "\ud800x", "\udc81"]])
    assert rows.tolist() == [expected_row(word) for word in ("\udc80", "\ud800x", "\udc81")]
    assert len(set(rows[:, 0].tolist())) == 3


def test_equal_texts_have_different_hashes_in_each_column() -> None:
    (rows,) = features([["a"]])  # lower-case form, prefix and suffix are equal
    assert len(set(rows[0].tolist())) == 4


@pytest.mark.parametrize("docs", [[], [[]], [[], []], [()]], ids=repr)
def test_features_accept_empty_documents(docs: Any) -> None:
    found = features(docs)
    assert [rows.shape for rows in found] == [(0, 4)] * len(docs)
    assert all(rows.dtype == np.uint64 for rows in found)


def test_features_accept_a_generator_of_documents() -> None:
    found = features(doc for doc in DOCS)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in features(DOCS)]


def test_features_accept_the_empty_word() -> None:
    (rows,) = features([[""]])
    assert rows.tolist() == [[blake("", column) for column in range(4)]]


def test_features_accept_custom_functions() -> None:
    (rows,) = features([["ab", "Ab"]], extract=[lambda word: word[0], len_as_text])
    assert rows.tolist() == [
        [blake("a", 0), blake("2", 1)],
        [blake("A", 0), blake("2", 1)],
    ]
    assert features([["ab"]], extract=[])[0].shape == (1, 0)


def len_as_text(word: str) -> str:
    return str(len(word))


def test_documents_do_not_share_memory() -> None:
    one, other = features([["word"], ["word"]])
    one[:] = 0
    assert other.all()


def test_features_feed_hash_embed() -> None:
    docs = features(DOCS)
    embed = cb.HashEmbed(4, 100, column=0) | cb.HashEmbed(4, 100, column=3)
    Y = cb.with_flatten(embed).initialize(docs).predict(docs)
    np.testing.assert_array_equal(Y[0][0, :4], Y[0][2, :4])  # The, the
    assert not (Y[0][0] == Y[0][2]).all()
    assert [y.shape for y in Y] == [(3, 8), (0, 8), (5, 8)]


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        ("some text", "words ... 'some text'"),
        (["a document", ["words"]], "words ... 'a document'"),
        ([["word", 3]], "str ... int"),
        ([["word"], [None]], "str ... NoneType"),
        ([[b"word"]], "str ... bytes"),
        ([[["word"]]], "str ... list"),
    ],
)
def test_features_fail_for_values_that_are_not_text(docs: Any, message: str) -> None:
    with raises(cb.InputError, message):
        features(docs)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("", ""),
        ("a", "x"),
        ("I", "X"),
        ("Apple", "Xxxxx"),
        ("apples", "xxxx"),
        ("APPLES", "XXXX"),
        ("iPhone7", "xXxxxxd"),
        ("2026", "dddd"),
        ("20261123", "dddd"),
        ("12-34", "dd-dd"),
        ("U.S.", "X.X."),
        ("......", "...."),
        ("C3PO", "XdXX"),
        ("don't", "xxx'x"),
        ("ÄRGER", "XXXX"),
        ("straße", "xxxx"),
        ("東京", "xx"),
        ("٣", "d"),
        ("a b", "x x"),
        ("xX-dd", "xX-xx"),
        ("😀", "😀"),
        ("aaaaaBaaaaa", "xxxxXxxxx"),
    ],
)
def test_shape_of_a_word(word: str, expected: str) -> None:
    assert shape(word) == expected


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (lower, ["éa", "abcd", ""]),
        (prefix(1), ["É", "A", ""]),
        (prefix(3), ["Éa", "AbC", ""]),
        (suffix(3), ["Éa", "bCd", ""]),
        (suffix(1), ["a", "d", ""]),
        (suffix(0), ["", "", ""]),
    ],
)
def test_lower_prefix_and_suffix(feature: Any, expected: list[str]) -> None:
    assert [feature(word) for word in ("Éa", "AbCd", "")] == expected


def test_default_features_are_lower_prefix_suffix_and_shape() -> None:
    assert [feature("Taggers") for feature in DEFAULT] == ["taggers", "T", "ers", "Xxxxx"]

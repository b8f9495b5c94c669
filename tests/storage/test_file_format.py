"""File format: encoding and decoding, refused data, and atomic writes."""

import os
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combinet import FormatError
from combinet.storage import file_format as fmt
from helpers.errors import raises

ARRAYS = {"matrix": np.arange(6, dtype="f").reshape(2, 3), "empty": np.zeros((0, 2))}
CONTENT: dict[str, Any] = {"name": "layer", "layers": [1, [2]], "rate": 0.5, 3: None} | ARRAYS
DATA = fmt.encode("model", CONTENT)


# -- bytes -------------------------------------------------------------------------------------


def test_decode_returns_the_encoded_content() -> None:
    found = fmt.decode("model", DATA)
    assert found.keys() == CONTENT.keys()
    for name, expected in CONTENT.items():
        if isinstance(expected, np.ndarray):
            assert found[name].dtype == expected.dtype
            np.testing.assert_array_equal(found[name], expected)
            assert found[name].flags.writeable
        else:
            assert found[name] == expected
    assert fmt.encode("model", found) == DATA


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|i1", ">i8", "<u8"])
def test_decoded_arrays_have_native_byte_order(dtype: str) -> None:
    array = np.array([[1, 2], [3, 4]], dtype)
    found = fmt.decode("model", fmt.encode("model", array.T))
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.tolist() == [[1, 3], [2, 4]]


def test_bytes_are_msgpack_with_a_header_and_a_checksum() -> None:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(DATA)
    record, checksum = unpacker
    assert {name: record[name] for name in ("format", "version", "kind")} == {
        "format": "combinet", "version": 1, "kind": "model"
    }  # fmt: skip
    assert checksum == msgpack.unpackb(DATA[-5:])
    matrix = record["content"]["matrix"]
    assert (matrix["__array__"], matrix["shape"]) == ("<f4", [2, 3])
    assert matrix["data"] == ARRAYS["matrix"].tobytes()


@pytest.mark.parametrize("value", [{1, 2}, object(), print], ids=["set", "object", "function"])
def test_unsupported_types_are_refused(value: Any) -> None:
    with raises(FormatError, type(value).__name__):
        fmt.encode("model", {"value": value})


@pytest.mark.parametrize(
    "data",
    [b"", b"another format", msgpack.packb({"nodes": []}), DATA[:-1], DATA[:-6], DATA + b"x",
     DATA[:100], "text", None],
)  # fmt: skip
def test_invalid_bytes_are_refused(data: Any) -> None:
    with raises(FormatError, "model"):
        fmt.decode("model", data)


def _signed(record: Any) -> bytes:
    """Encodes a record with a valid checksum."""
    body = msgpack.packb(record)
    return body + fmt._checksum(body)


@pytest.mark.parametrize("name", ["format", "version", "kind"])
def test_array_in_the_header_is_refused(name: str) -> None:
    record = msgpack.unpackb(DATA[:-5], strict_map_key=False)
    with raises(FormatError, "model"):
        fmt.decode("model", _signed(record | {name: fmt._pack(np.ones(4))}))


@pytest.mark.parametrize(
    "change", [{"__array__": "|O8"}, {"__array__": "<f4, <f4"}, {"shape": [7]}, {"data": b"1"}]
)
def test_invalid_array_is_refused(change: Any) -> None:
    record = msgpack.unpackb(DATA[:-5], strict_map_key=False)
    record["content"]["matrix"] |= change
    with raises(FormatError, "model"):
        fmt.decode("model", _signed(record))


def test_error_names_the_other_version_of_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fmt, "VERSION", 99)
        data = fmt.encode("model", CONTENT)
    with raises(FormatError, "99"):
        fmt.decode("model", data)


def test_error_names_the_other_kind_of_content() -> None:
    with raises(FormatError, "model", "optimizer"):
        fmt.decode("optimizer", DATA)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused(data: Any) -> None:
    damaged = bytearray(DATA)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(DATA) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.just(len(DATA)) | st.integers(0, len(DATA)))])
    if cut == DATA:
        return
    with pytest.raises(FormatError):
        fmt.decode("model", cut)


# -- files -------------------------------------------------------------------------------------


def test_write_and_read_keep_the_bytes(tmp_path: Path) -> None:
    for path in (tmp_path / "model", str(tmp_path / "model")):
        fmt.write(path, DATA)
        assert (tmp_path / "model").read_bytes() == fmt.read(path) == DATA


@pytest.mark.parametrize("fails", ["os.replace", "os.fsync"])
def test_failed_write_leaves_only_the_old_file(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError("disk full")

    path = tmp_path / "model"
    fmt.write(path, DATA)
    monkeypatch.setattr(fails, fail)
    with pytest.raises(OSError, match="disk full"):
        fmt.write(path, fmt.encode("model", None))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    assert path.read_bytes() == DATA


def test_error_names_the_requested_file(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "model"
    with pytest.raises(FileNotFoundError) as caught:
        fmt.write(path, DATA)
    assert caught.value.filename == str(path)


def test_saved_file_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    fmt.write(tmp_path / "model", DATA)
    (tmp_path / "plain").write_bytes(b"")
    assert os.stat(tmp_path / "model").st_mode == os.stat(tmp_path / "plain").st_mode

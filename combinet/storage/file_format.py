"""A model's nodes as bytes: msgpack with a header that says what it is and in which version.

At the end stands the CRC-32 of all before it, as another msgpack number (uint32), so that damage
is noticed wherever it is.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np

from combinet.errors import FormatError, describe
from combinet.types import Array

MAGIC = "combinet"
VERSION = 1
_ARRAY = "__array__"
_DTYPES = {f"{order}{kind}{size}" for order in "<>|" for kind in "fiu" for size in (1, 2, 4, 8)}
_CHECKSUM = struct.Struct(">BI")


def encode(kind: str, content: object) -> bytes:
    """Bytes of nested dicts, lists, numbers, strings and NumPy arrays; `kind` says what of.

    Example:
        >>> import numpy as np
        >>> decode("test", encode("test", {"W": np.ones(2)}))
        {'W': array([1., 1.])}
    """
    record = {"format": MAGIC, "version": VERSION, "kind": kind, "content": content}
    packer: Any = msgpack.Packer(default=_pack)
    packed: bytes = packer.pack(record)
    return packed + _checksum(packed)


def decode(kind: str, data: bytes) -> Any:
    """What `encode` was given. Raises FormatError, with the reason, for anything else."""
    try:
        body = memoryview(data)[: -_CHECKSUM.size]
        if data[-_CHECKSUM.size :] != _checksum(body):
            raise ValueError("they are of something else, or damaged")
        record = msgpack.unpackb(body, object_hook=_unpack, strict_map_key=False)
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise FormatError(f"{_size(data)} no saved {kind}: {error}") from None
    match record:
        case {"format": str(magic), "version": int(version), "kind": str(found)} if magic == MAGIC:
            if version != VERSION:
                raise FormatError(f"this {kind} has version {version} of the format, not {VERSION}")
            if found != kind:
                raise FormatError(f"these bytes are a saved {found}, not a {kind}")
            return record.get("content")
    raise FormatError(f"{_size(data)} no saved {kind}")


def _checksum(data: bytes | memoryview) -> bytes:
    return _CHECKSUM.pack(0xCE, zlib.crc32(data))  # 0xCE: msgpack's sign for a uint32


def _size(data: Any) -> str:
    return f"these {len(data)} bytes are" if isinstance(data, bytes) else f"{describe(data)} is"


def to_host(X: object) -> Array:
    """An array as a NumPy array of its own."""
    get = getattr(X, "get", None)  # of a GPU's array
    return np.array(X) if get is None else get()


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: under another name first, then renamed over `path`."""
    folder, name = os.path.split(os.fspath(path))
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(unfinished, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        if isinstance(error, OSError) and error.filename == unfinished:
            error.filename = os.fspath(path)  # the name that was asked for
        raise


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: value.dtype.str, "shape": [*value.shape], "data": value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    raise FormatError(f"a {type(value).__name__} cannot be saved")


def _unpack(record: dict[Any, Any]) -> Any:
    if _ARRAY not in record:
        return record
    if record[_ARRAY] not in _DTYPES:
        raise ValueError(f"there are no arrays of {record[_ARRAY]!r}")
    dtype = np.dtype(record[_ARRAY])
    array = np.frombuffer(record["data"], dtype=dtype).reshape(record["shape"])
    return array.astype(dtype.newbyteorder("="))

"""The file format: msgpack with a header that names the kind of content and the format's version.

The last bytes are a checksum, the CRC-32 of all bytes before it as a msgpack uint32, so that damage
is detected anywhere in a file.
"""

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
    """Returns nested dicts, lists, numbers, strings and NumPy arrays as bytes.

    `kind` names the content, such as `"model"`. `decode` checks it.

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
    """Returns the content of bytes from `encode`. Raises FormatError for any other bytes."""
    try:
        body = memoryview(data)[: -_CHECKSUM.size]
        if data[-_CHECKSUM.size :] != _checksum(body):
            raise ValueError("unknown format or corrupt data")
        record = msgpack.unpackb(body, object_hook=_unpack, strict_map_key=False)
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise FormatError(f"expected a saved {kind}, got {_size(data)}: {error}") from None
    match record:
        case {"format": str(magic), "version": int(version), "kind": str(found)} if magic == MAGIC:
            if version != VERSION:
                raise FormatError(f"expected a {kind} in format version {VERSION}, got {version}")
            if found != kind:
                raise FormatError(f"expected a saved {kind}, got a saved {found:.60}")
            return record.get("content")
    raise FormatError(f"expected a saved {kind}, got {_size(data)}")


def _checksum(data: bytes | memoryview) -> bytes:
    return _CHECKSUM.pack(0xCE, zlib.crc32(data))  # 0xCE: msgpack's type byte of a uint32


def _size(data: Any) -> str:
    return f"{len(data)} bytes" if isinstance(data, bytes) else describe(data)


def to_host(X: object) -> Array:
    """Returns a copy of an array from any device as a NumPy array."""
    get = getattr(X, "get", None)  # the method of CuPy's arrays
    return np.array(X) if get is None else get()


def read(path: str | os.PathLike[str]) -> bytes:
    """Returns the bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file completely or not at all, by renaming a finished temporary file to `path`."""
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
            error.filename = os.fspath(path)  # instead of the temporary file
        raise


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: value.dtype.str, "shape": [*value.shape], "data": value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    raise FormatError(f"expected arrays, numbers, lists or dicts, got {type(value).__name__}")


def _unpack(record: dict[Any, Any]) -> Any:
    if _ARRAY not in record:
        return record
    if record[_ARRAY] not in _DTYPES:
        raise ValueError(f"unsupported dtype {record[_ARRAY]!r:.60}")
    dtype = np.dtype(record[_ARRAY])
    array = np.frombuffer(record["data"], dtype=dtype).reshape(record["shape"])
    return array.astype(dtype.newbyteorder("="))

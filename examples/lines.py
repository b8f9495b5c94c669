"""Files of lines, gzipped or not, and what is wrong with a line, with its file and number."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class MalformedLine(ValueError):
    """A line that is not as it should be; the message begins with file and line number."""


def parse_lines(path: Path, parse: Callable[[str], T]) -> Iterator[T]:
    """What `parse` makes of each line. MalformedLine for its ValueError, or OSError."""
    number = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for raw in file:
                number += 1
                yield parse(raw.decode("utf8").rstrip("\r\n"))
        except ValueError as error:
            raise MalformedLine(f"{path}:{number}: {error}") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise MalformedLine(f"{path}:{number + 1}: {error}") from None

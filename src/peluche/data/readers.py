"""Lines of text out of files: plain or gzip, any encoding, one at a time.

A line ends at ``\\n`` (a ``\\r`` before it is removed) and nowhere else: the Unicode separators
U+2028, U+0085 and the like are text, so that line counts agree with `wc -l` and aligned files
stay aligned. A byte order mark at the start is removed.
"""

from __future__ import annotations

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

from peluche.errors import DataError, nearest

CHUNK = 1 << 16
NEWLINE = "\n"
GZIP_MAGIC = b"\x1f\x8b"
BINARY = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive, as .docx, .xlsx, .odt and .epub are",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GGUF": "a GGUF model",
    b"PAR1": "a Parquet table, which is read where its name ends in .parquet",
    b"\xd0\xcf\x11\xe0": "an Office document of before 2007",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
}
BYTE_ORDER_MARKS_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
USUAL_ENCODINGS = (
    *("utf-8", "utf-16", "latin-1", "iso-8859-15", "cp1252", "cp1250", "cp1251", "koi8-r"),
    *("ascii", "mac-roman", "shift_jis", "euc-jp", "euc-kr", "gb18030", "big5"),
)


def read_lines(
    path: str | Path, encoding: str = "utf-8", stretch: tuple[int, int] | None = None
) -> Iterator[str]:
    """The lines of a text file without their ends; ``"-"`` is standard input.

    Nothing but the current line and one block of bytes is held in memory. Gzip is recognised by
    the file's first bytes, not by its name. The file is opened when the first line is asked for.

    Args:
        stretch: only the lines that begin at these bytes, from the first up to the second; of a
            plain file in which a line ends at the byte 10, see `can_be_cut`.

    Raises:
        DataError: if the file is missing, a directory, not readable, a damaged gzip, or holds
            bytes that are not in `encoding`; or if Python knows no such encoding.
    """
    check_encoding(encoding)
    with _open_bytes(path) as stream:
        name = display_name(path)
        if stretch is None or stretch[0] == 0:
            whole = stream if stretch is None else _Stretch(stream, *stretch)
            yield from _decode_lines(whole, encoding, name)
        else:
            yield from _decode_lines(_Stretch(stream, *stretch), encoding, name, at_start=False)


def can_be_cut(path: Path, encoding: str) -> bool:
    """Whether stretches of a file can be read: it is not compressed, and its lines end in a byte.

    Raises:
        DataError: if the file is missing or not readable.
    """
    with _open_bytes(path) as stream:
        return not isinstance(stream, gzip.GzipFile) and "\n".encode(encoding) == b"\n"


def read_text(path: str | Path, encoding: str = "utf-8", limit: int | None = None) -> str:
    """A whole text file, line ends as they are; ``"-"`` is standard input.

    Args:
        limit: bytes at the beginning of it; a character that is cut in two there is left out.

    Raises:
        DataError: see `read_lines`.
    """
    check_encoding(encoding)
    name, data = display_name(path), b""
    with _open_bytes(path) as stream:
        while limit is None or len(data) < limit:
            chunk = _read_chunk(stream, name)
            data += chunk
            if not chunk:
                break
    data = data[:limit]
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(data, final=limit is None)
    except UnicodeDecodeError as error:
        raise _undecodable(error, encoding, name, len(data)) from None


def display_name(path: str | Path) -> str:
    """How a file is called in places such as ``train.en:17``: by its name without the folder."""
    return "standard input" if str(path) == "-" else Path(path).name


def check_encoding(encoding: str) -> str:
    """Return `encoding` if it is a text encoding that Python knows.

    Raises:
        DataError: if it is not.
    """
    try:
        "".encode(encoding)
    except LookupError:
        close = nearest(encoding.lower(), USUAL_ENCODINGS)
        remedy = f"did you mean '{close}'?" if close else "use a name such as utf-8 or latin-1"
        raise DataError(f"unknown text encoding '{encoding}'", remedy=remedy) from None
    return encoding


def missing_file(path: Path) -> DataError:
    """The error for a file that is not there: names the nearest one that is."""
    what = f"no such file: {path}"
    if not path.parent.is_dir():
        return DataError(what, remedy=f"the folder {path.parent} does not exist either")
    close = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    return DataError(
        what,
        where=f"folder {path.parent.resolve()}",
        remedy=f"did you mean '{path.with_name(close)}'?" if close else "check the path",
    )


@contextmanager
def _open_bytes(path: str | Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file or of standard input, decompressed if they are gzip."""
    if str(path) == "-":
        if sys.stdin is None:
            raise DataError("standard input is closed", remedy="pipe a text in, or name a file")
        yield _decompressed(sys.stdin.buffer)
        return
    path = Path(path)
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise missing_file(path) from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory", remedy="name one file inside it") from None
    except OSError as error:
        raise DataError(f"cannot open {path}: {error.strerror}") from None
    with raw:
        yield _decompressed(raw)


def _decompressed(stream: IO[bytes]) -> io.BufferedReader:
    buffered: Any = stream if hasattr(stream, "peek") else io.BufferedReader(cast(Any, stream))
    if buffered.peek(2)[:2] == GZIP_MAGIC:
        return cast(io.BufferedReader, gzip.GzipFile(fileobj=buffered))
    return cast(io.BufferedReader, buffered)


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class _Stretch:
    """The lines of a file that begin at some of its bytes, to be read in chunks."""

    def __init__(self, stream: io.BufferedReader, start: int, end: int) -> None:
        if start:
            stream.seek(start - 1)
            stream.readline()
        self.stream, self.left = stream, end - stream.tell()

    def read1(self, size: int, /) -> bytes:
        if self.left <= 0:
            return b""
        data = self.stream.read(min(size, self.left))
        self.left -= len(data)
        if self.left <= 0 and not data.endswith(b"\n"):
            data += self.stream.readline()
        return data


def _decode_lines(
    stream: _Readable, encoding: str, name: str, at_start: bool = True
) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    finished = 0  # lines given so far
    offset = 0  # bytes given to the decoder so far
    unfinished: list[str] = []  # pieces of the line whose end has not been seen yet
    chunk = b"-"
    while chunk:
        chunk = _read_chunk(stream, f"{name}:{finished + 1}")
        state = decoder.getstate()
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            decoder.setstate(state)
            before = decoder.decode(error.object[len(state[0]) : error.start])
            place = f"{name}:{finished + before.count(NEWLINE) + 1}"
            raise _undecodable(error, encoding, place, offset + len(chunk)) from None
        offset += len(chunk)
        if at_start and text:
            text = text.removeprefix("\ufeff")
            at_start = False
        head, *rest = text.split(NEWLINE)
        unfinished.append(head)
        for piece in rest:
            yield "".join(unfinished).removesuffix("\r")
            finished += 1
            unfinished = [piece]
    if any(unfinished):
        yield "".join(unfinished).removesuffix("\r")


def _undecodable(error: UnicodeDecodeError, encoding: str, place: str, read: int) -> DataError:
    """The error for bytes that are not in `encoding`; `read` bytes had been read by then."""
    offset = read - len(error.object) + error.start
    bad = error.object[error.start : error.end]
    if read == len(error.object) and (kind := _kind_of(error.object)):
        return DataError(
            f"this is not a text but {kind}",
            where=place.partition(":")[0],
            remedy="take its text out with a program that knows such files, and give that",
        )
    if offset == 0 and error.object[:2] in BYTE_ORDER_MARKS_UTF_16:
        likely = "utf-16"
    elif 0x80 <= bad[0] < 0xA0:
        likely = "cp1252"  # latin-1 has control characters there
    else:
        likely = "latin-1"
    return DataError(
        f"the bytes {bad.hex(' ')} are not {encoding} ({error.reason})",
        where=f"{place}, byte offset {offset}",
        remedy=f"say which encoding the file has, e.g. encoding: {likely} (in a command: "
        f"--encoding {likely}; of a recipe: data.train.encoding={likely})",
    )


def _kind_of(data: bytes) -> str | None:
    """What the beginning of a file is known for, where it is no text in any encoding."""
    for start, kind in BINARY.items():
        if data.startswith(start):
            return kind
    plain = data[:2] not in BYTE_ORDER_MARKS_UTF_16 and data[::2].count(0) * data[1::2].count(0)
    return "a binary file: it has zero bytes" if plain else None


def _read_chunk(stream: _Readable, place: str) -> bytes:
    try:
        # What there is: whoever writes into a pipe may wait for an answer.
        return stream.read1(CHUNK)
    except EOFError:
        what = "the compressed file ends in the middle: it is truncated"
    except (gzip.BadGzipFile, zlib.error) as error:
        what = f"the compressed file is damaged ({error})"
    except OSError as error:
        raise DataError(f"reading failed: {error.strerror}", where=place) from None
    raise DataError(what, where=place, remedy="copy or download it again")

"""Word vectors in the formats of the authors' word2vec: text and binary, read and written."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from peluche import files
from peluche.data.readers import GZIP_MAGIC, display_name, missing_file
from peluche.errors import DataError

FLOAT = np.dtype("<f4")
LONGEST_WORD = 1 << 16


class NamedVectors(NamedTuple):
    """Words, and their vectors (V, D) in float32."""

    words: list[str]
    vectors: NDArray[np.float32]


def write_vectors(
    path: Path, words: Sequence[str], vectors: NDArray[np.float32], *, binary: bool
) -> None:
    """Write a header "V D" and then each word with its vector, as gensim's KeyedVectors does.

    Raises:
        DataError: a word holds a space or a line end, which neither format can tell from its own.
    """
    for word in words:
        if not word or any(character.isspace() for character in word):
            raise DataError(
                f"the word {word!r} cannot be written in word2vec's format",
                remedy="join words with _ instead of spaces",
            )
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, vector in zip(words, vectors.astype(FLOAT, copy=False), strict=True):
            if binary:
                stream.write(word.encode() + b" " + vector.tobytes())
            else:
                # The shortest decimals that are this float32.
                numbers = " ".join(map(str, vector))
                stream.write(f"{word} {numbers}\n".encode())


def read_vectors(path: Path) -> NamedVectors:
    """Read vectors in text or binary form, told apart by their bytes; plain or gzip.

    Text without a header, as GloVe's, is read too. A word that is there twice keeps its first
    vector.

    Raises:
        DataError: the file is missing, truncated or damaged, holds bytes that are not UTF-8, or
            numbers that are not finite; with the place.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if compressed else raw)
            found = _read(stream, path, None if compressed else path.stat().st_size)
    except FileNotFoundError:
        raise missing_file(path) from None
    except EOFError:
        raise _damaged(path, "the compressed file ends in the middle") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from None
    bad = ~np.isfinite(found.vectors).all(1)
    if bad.any():
        word = found.words[int(bad.argmax())]
        raise _damaged(path, f"the vector of '{word}' holds numbers that are not finite")
    first = {word: number for number, word in reversed(list(enumerate(found.words)))}
    if len(first) < len(found.words):
        rows = sorted(first.values())
        return NamedVectors([found.words[row] for row in rows], found.vectors[rows])
    return found


def _read(stream: IO[bytes], path: Path, size: int | None) -> NamedVectors:
    header = stream.readline(LONGEST_WORD)
    fields = header.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, width = map(int, fields)
        start = stream.tell()
        if not count or not width:
            raise _damaged(path, "the header announces no vectors")
        if size is not None and size < start + count * (2 * width):
            raise _damaged(
                path, f"the header announces {count:,} vectors of {width}, the file is shorter"
            )
        first = stream.readline(LONGEST_WORD + 32 * width)
        stream.seek(start)
        if _numbers(first, width) is None:
            return _read_binary(stream, count, width, path)
        lines = iter(stream)
    elif len(fields) > 2:
        count, width = None, len(fields) - 1
        lines = _chain(header, stream)
    else:
        raise _damaged(path, "the first line is neither a header nor a word and its vector")
    return _read_text(lines, count, width, path)


def _chain(first: bytes, rest: IO[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _read_text(lines: Iterator[bytes], count: int | None, width: int, path: Path) -> NamedVectors:
    words, vectors = [], []
    for number, line in enumerate(lines, start=1 if count is None else 2):
        if not line.strip():
            continue
        where = f"{display_name(path)}:{number}"
        values = _numbers(line, width)
        if values is None:
            raise _damaged(where, f"the line is not a word and {width} numbers")
        words.append(_decoded(line.rstrip().rsplit(b" ", width)[0], where))
        vectors.append(values)
    if count is not None and len(words) != count:
        raise _damaged(path, f"the header announces {count:,} vectors, there are {len(words):,}")
    return NamedVectors(words, np.stack(vectors))


def _numbers(line: bytes, width: int) -> NDArray[np.float32] | None:
    fields = line.rstrip().rsplit(b" ", width)
    if len(fields) != width + 1:
        return None
    try:
        return np.array(fields[1:]).astype(FLOAT)
    except ValueError:
        return None


def _read_binary(stream: IO[bytes], count: int, width: int, path: Path) -> NamedVectors:
    words: list[str] = []
    vectors = np.empty((count, width), dtype=FLOAT)
    rest = b""
    for number in range(count):
        where = f"{display_name(path)}, vector {number + 1} of {count:,}"
        end = rest.find(b" ")
        while end < 0 and len(rest) <= LONGEST_WORD:
            more = stream.read(1 << 20)
            if not more:
                raise _damaged(where, "the file ends in the middle")
            rest += more
            end = rest.find(b" ")
        if end < 0:
            raise _damaged(where, "there is no space after the word")
        needed = end + 1 + width * FLOAT.itemsize
        while len(rest) < needed and (more := stream.read(max(1 << 20, needed - len(rest)))):
            rest += more
        if len(rest) < needed:
            raise _damaged(where, "the file ends in the middle")
        # The authors' word2vec ends vectors with a line feed, gensim does not.
        words.append(_decoded(rest[:end].lstrip(b"\n"), where))
        vectors[number] = np.frombuffer(rest, dtype=FLOAT, count=width, offset=end + 1)
        rest = rest[needed:]
    return NamedVectors(words, vectors)


def _decoded(word: bytes, where: str) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"the word {word!r} is not UTF-8 ({error.reason})",
            where=where,
            remedy="the file is damaged, or was written in another encoding; convert it first",
        ) from None


def _damaged(where: Any, what: str) -> DataError:
    return DataError(what, where=where, remedy="copy or download the vectors again")

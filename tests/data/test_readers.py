"""Lines out of files: separators, encodings, gzip, and files that cannot be read."""

import gzip
import io
import itertools
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.data import readers
from peluche.data.readers import read_lines, read_text
from peluche.errors import DataError


def lines_of(path: Path, content: bytes, encoding: str = "utf-8") -> list[str]:
    path.write_bytes(content)
    return list(read_lines(path, encoding))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\x0b\x0c\x1c\x1d\x1eb\n", ["a\x0b\x0c\x1c\x1d\x1eb"]),
        ("a\u2028b\u2029c\u0085d\n".encode(), ["a\u2028b\u2029c\u0085d"]),
        (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_lines_end_at_newlines_only(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    assert lines_of(tmp_path / "a.txt", content) == expected
    assert lines_of(tmp_path / "a.txt.gz", gzip.compress(content)) == expected


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "mac-roman", "utf-8-sig"],
)
def test_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = "déjà vu\nça va ?\r\n\nfin"
    expected = ["déjà vu", "ça va ?", "", "fin"]
    assert lines_of(tmp_path / "a.txt", text.encode(encoding), encoding) == expected


def test_multibyte_encodings(tmp_path: Path) -> None:
    for encoding in ("shift_jis", "euc-jp", "iso2022_jp", "gb18030"):
        assert lines_of(tmp_path / "a", "熊が\n読む".encode(encoding), encoding) == ["熊が", "読む"]


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-32", "gb18030"]),
    chunk=st.integers(1, 9),
)
def test_blocks_of_any_size_give_the_same_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], encoding: str, chunk: int
) -> None:
    lines = [line.removeprefix("\ufeff") for line in lines]
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes("".join(line + "\n" for line in lines).encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "CHUNK", chunk)
        assert list(read_lines(path, encoding)) == lines


def test_gzip_is_known_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    assert lines_of(tmp_path / "plain.gz", b"not compressed\n") == ["not compressed"]
    assert lines_of(tmp_path / "zipped", gzip.compress(b"one\n") + gzip.compress(b"two\n")) == [
        "one",
        "two",
    ]


@pytest.mark.parametrize("content", [b"one\ntwo\n", gzip.compress(b"one\ntwo\n", mtime=0)])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert list(read_lines("-")) == ["one", "two"]


class Pipe(io.RawIOBase):
    """Gives one piece at a time, as who writes into a pipe does."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


def test_lines_of_a_pipe_are_given_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(b"one\ntw", b"o\n", b"three")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(pipe)))
    lines = read_lines("-")
    left = []
    for line in lines:
        left.append((line, len(pipe.pieces)))
    assert left == [("one", 2), ("two", 1), ("three", 0)]


def test_reading_streams(tmp_path: Path) -> None:
    path = tmp_path / "large.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(40):
            stream.write(b"a cute teddy bear is reading\n" * 5000)  # 5.8 MB in all
    tracemalloc.start()
    assert sum(1 for _ in read_lines(path)) == 200_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_line_of_a_hundred_thousand_words(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "a.txt", b"short\n" + b"word " * 100_000 + b"\nshort\n")
    assert [len(line.split()) for line in lines] == [1, 100_000, 1]


def refusal(path: Path, encoding: str = "utf-8") -> DataError:
    with pytest.raises(DataError) as caught:
        list(read_lines(path, encoding))
    return caught.value


def test_bytes_that_are_not_in_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "old.fr"
    path.write_bytes(b"bon\nvin\nd\xe9j\xe0\n")
    error = refusal(path)
    assert error.what.startswith("the bytes e9 are not utf-8")
    assert error.where == "old.fr:3, byte offset 9"
    assert error.remedy is not None
    assert "encoding: latin-1" in error.remedy


def test_the_offset_is_right_beyond_the_first_block(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    before = "é\n".encode() * 50_000 + b"x"
    path.write_bytes(before + b"\xff\n")
    assert refusal(path).where == f"a.txt:50001, byte offset {len(before)}"


@given(prefix=st.text(max_size=20), chunk=st.integers(1, 7))
def test_the_place_of_bad_bytes_does_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, prefix: str, chunk: int
) -> None:
    before = prefix.encode("utf-8", "ignore")
    path = tmp_path_factory.mktemp("bad") / "a.txt"
    path.write_bytes(before + b"\xc3(\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "CHUNK", chunk)
        error = refusal(path)
    assert error.where == f"a.txt:{before.count(10) + 1}, byte offset {len(before)}"


@pytest.mark.parametrize(
    ("content", "suggestion"),
    [
        ("été".encode("utf-16"), "utf-16"),
        ("l’été".encode("cp1252"), "cp1252"),
        ("été".encode("latin-1"), "latin-1"),
    ],
)
def test_a_likely_encoding_is_suggested(tmp_path: Path, content: bytes, suggestion: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert f"encoding: {suggestion}" in str(refusal(path))


def test_a_character_cut_off_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("un\nété".encode()[:-1])
    assert refusal(path).where == "a.txt:2, byte offset 6"


def test_unknown_encoding(tmp_path: Path) -> None:
    assert "did you mean 'latin-1'?" in str(refusal(tmp_path / "a", "latin1-1"))
    assert "unknown text encoding 'hex'" in str(refusal(tmp_path / "a", "hex"))


def test_missing_file_suggests_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "train.en").touch()
    (tmp_path / "readme").touch()
    error = refusal(tmp_path / "trian.en")
    assert "no such file" in error.what
    assert error.remedy == f"did you mean '{tmp_path / 'train.en'}'?"


def test_missing_folder(tmp_path: Path) -> None:
    assert "does not exist either" in str(refusal(tmp_path / "nowhere" / "train.en"))


def test_directory_instead_of_file(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path).what


def test_a_name_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "cannot open" in refusal(tmp_path / ("x" * 5000)).what


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_truncated_gzip(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(b"".join(b"line %d\n" % number for number in range(50_000)))
    path = tmp_path / "train.en.gz"
    path.write_bytes(whole[: int(len(whole) * kept)])
    given_before, error = [], None
    try:
        given_before.extend(read_lines(path))
    except DataError as caught:
        error = caught
    assert error is not None
    assert "ends in the middle" in error.what
    assert error.where is not None
    assert error.where.startswith("train.en.gz:")
    for number, line in zip(itertools.count(), given_before, strict=False):
        assert line == f"line {number}"


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"".join(b"line %d\n" % number for number in range(5000))))
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "train.en.gz"
    path.write_bytes(whole)
    assert "damaged" in refusal(path).what


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
        (b"PK\x03\x04\x14\x00\x08\xff", "a ZIP archive"),
        (b"\x00\x00\x01\xff\x00\x00", "zero bytes"),
    ],
)
def test_what_is_no_text_gets_no_encoding_suggested(tmp_path, data, what):
    path = tmp_path / "doc.txt"
    path.write_bytes(data)
    for read in (lambda: list(read_lines(path)), lambda: read_text(path)):
        with pytest.raises(DataError, match=what) as caught:
            read()
        assert "encoding" not in str(caught.value)

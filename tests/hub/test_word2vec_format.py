"""Vectors in word2vec's formats: ours read by gensim, gensim's by us, damaged ones refused."""

import gzip

import numpy as np
import pytest

from peluche.errors import DataError
from peluche.hub.word2vec_format import read_vectors, write_vectors

WORDS = ["teddy_bear", "l'ours", "日本", "é", "a"]
VECTORS = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_written_is_read(tmp_path, binary, compressed):
    path = tmp_path / "vectors"
    write_vectors(path, WORDS, VECTORS, binary=binary)
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    words, vectors = read_vectors(path)
    assert words == WORDS
    np.testing.assert_array_equal(vectors, VECTORS)


@pytest.mark.parametrize("binary", [True, False])
def test_gensim_reads_ours_and_we_read_gensims(tmp_path, binary):
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write_vectors(ours, WORDS, VECTORS, binary=binary)
    loaded = keyed.KeyedVectors.load_word2vec_format(ours, binary=binary)
    assert loaded.index_to_key == WORDS
    np.testing.assert_array_equal(loaded.vectors, VECTORS)
    loaded.save_word2vec_format(theirs, binary=binary)
    words, vectors = read_vectors(theirs)
    assert words == WORDS
    np.testing.assert_array_equal(vectors, VECTORS)


def test_the_first_word2vec_ended_vectors_with_a_line_feed(tmp_path):
    path = tmp_path / "vectors.bin"
    rows = (w.encode() + b" " + v.tobytes() + b"\n" for w, v in zip(WORDS, VECTORS, strict=True))
    path.write_bytes(b"5 7\n" + b"".join(rows))
    assert read_vectors(path).words == WORDS


def test_glove_has_no_header_and_the_first_of_two_counts(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2 3\ncat 4 5 6\nthe 7 8 9\n", encoding="utf-8")
    words, vectors = read_vectors(path)
    assert words == ["the", "cat"]
    assert vectors.tolist() == [[1, 2, 3], [4, 5, 6]]


def damage(tmp_path, content):
    path = tmp_path / "vectors"
    path.write_bytes(content)
    return path


BINARY = b"2 2\na " + np.ones(2, "<f4").tobytes() + b"b " + np.ones(2, "<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a header nor"),
        (b"hello\n", "neither a header nor"),
        (b"0 5\n", "announces no vectors"),
        (b"999999999999 300\na 1 2\n", "the file is shorter"),
        (b"3 2\na 1 2\nb 3 4\n", "announces 3 vectors, there are 2"),
        (b"2 2\na 1 2\nb 3 x\n", "not a word and 2 numbers"),
        (b"a 1 2\nb 3\n", "not a word and 2 numbers"),
        (b"2 2\na 1 2\nb nan 4\n", "'b' holds numbers that are not finite"),
        (b"2 2\na 1 2\n\xe9t\xe9 3 4\n", "is not UTF-8"),
        (BINARY[:-3], "ends in the middle"),
        (BINARY[:12], "ends in the middle"),
        (BINARY.replace(b"b ", b"\xff "), "is not UTF-8"),
        (b"1 2\n" + b"a" * 70000, "no space after the word"),
        (gzip.compress(BINARY, mtime=0)[:-12], "ends in the middle"),
    ],
)
def test_damaged_files(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read_vectors(damage(tmp_path, content))


def test_missing_files_and_words_with_spaces(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_vectors(tmp_path / "absent.bin")
    with pytest.raises(DataError, match="cannot be written"):
        write_vectors(tmp_path / "x", ["teddy bear"], np.ones((1, 2), np.float32), binary=False)

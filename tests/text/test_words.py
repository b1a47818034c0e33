"""English cut into words as treebanks do it."""

import pytest

from peluche.text.words import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A cute teddy bear is reading.", "A cute teddy bear is reading ."),
        ("It isn't Ada's; they've left!", "It is n't Ada 's ; they 've left !"),
        ("well-kept (old) books", "well - kept ( old ) books"),
        ("3.5 % of 1,000 at 10:30...", "3.5 % of 1,000 at 10:30 ..."),
        ("see https://example.org/a?b=c or a.b@example.org", None),
        ("Dr. Ada met Mr. Bear in the U.S. today", "Dr. Ada met Mr. Bear in the U.S. today"),
        ("l’été à Paris", "l’été à Paris"),
        ("@ada #toys", "@ada #toys"),
        ("", ""),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == (words or text).split()

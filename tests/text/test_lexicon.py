"""Words and characters by number."""

import pytest

from peluche.errors import CheckpointError, DataError
from peluche.text.lexicon import UNKNOWN, Lexicon, LexiconConfig

SENTENCES = [["The", "bear"], ["the", "Toy"], ["bear"]]


def test_rare_words_are_unknown_but_can_be_spelt():
    lexicon = LexiconConfig(min_count=2).build(SENTENCES)
    assert lexicon.words == 4  # padding, unknown, the, bear
    assert lexicon.word("THE") == lexicon.word("the") != UNKNOWN
    assert lexicon.word("toy") == UNKNOWN
    assert UNKNOWN not in lexicon.spelling("Toy")
    assert lexicon.spelling("q") == [UNKNOWN]
    assert lexicon.spelling("T") != lexicon.spelling("t")


def test_case_matters_if_it_is_kept():
    lexicon = LexiconConfig(min_count=1, lowercase=False).build(SENTENCES)
    assert lexicon.word("The") != lexicon.word("the")
    assert lexicon.word("THE") == UNKNOWN


def test_both_ends_of_a_very_long_word_are_spelt():
    lexicon = LexiconConfig().build([["ab" * 30]])
    assert len(lexicon.spelling("b" + "a" * 100 + "b")) == 32
    assert lexicon.spelling("b" + "a" * 100 + "b")[0] == lexicon.spelling("b")[0]


def test_saved_and_loaded(tmp_path):
    lexicon = LexiconConfig().build(SENTENCES)
    lexicon.save(tmp_path / "lexicon.json")
    again = Lexicon.load(tmp_path / "lexicon.json")
    for word in ("the", "Bear", "absent"):
        assert again.word(word) == lexicon.word(word)
        assert again.spelling(word) == lexicon.spelling(word)
    assert (again.words, again.characters) == (lexicon.words, lexicon.characters)


def test_bad_input(tmp_path):
    with pytest.raises(DataError, match="no words"):
        LexiconConfig().build([])
    path = tmp_path / "lexicon.json"
    path.write_text("[]")
    with pytest.raises(CheckpointError, match="lexicon"):
        Lexicon.load(path)

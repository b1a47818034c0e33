"""Words, their counts, phrases, and what is said about words that are not there."""

import json

import pytest

from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.text.counting import PrunedCounter
from peluche.text.phrases import PhrasesConfig, join, learn_phrases
from peluche.text.vocabulary import Vocabulary, VocabularyConfig

TEXTS = ["A teddy bear<br />reads.", "The Teddy bear and the cat read the bear's book", "", "…"]


def built(texts=TEXTS, **options):
    return VocabularyConfig.parse({"min_count": 1, **options}).build(lambda: iter(texts))


def test_words_are_counted_and_ordered_by_frequency():
    vocabulary = built(remove="<[^>]*>")
    assert vocabulary[0] == "the"
    assert list(vocabulary)[1:3] == ["bear", "teddy"]  # ties by spelling
    assert dict(zip(vocabulary, vocabulary.counts.tolist(), strict=True)) == {
        "the": 3,
        "teddy": 2,
        "bear": 2,
        "a": 1,
        "reads": 1,
        "and": 1,
        "cat": 1,
        "read": 1,
        "bear's": 1,
        "book": 1,
    }
    assert "br" in built()
    assert "Teddy" in built(lowercase=False)


def test_rare_words_and_small_vocabularies():
    assert set(built(min_count=2)) == {"the", "teddy", "bear"}
    assert list(built(size=2)) == ["the", "bear"]


def test_numbers_of_a_text_leave_unknown_words_out():
    vocabulary = built(min_count=2)
    read = [vocabulary[number] for number in vocabulary.encode("The big Teddy, a bear!")]
    assert read == ["the", "teddy", "bear"]
    assert vocabulary.encode("nothing known").dtype == "int32"


def test_phrases_are_pairs_that_occur_more_often_than_by_chance():
    texts = [["teddy", "bear", word] for word in "abcdefgh"] + [["bear", "teddy"]]
    # teddy bear: (8 − 1) · 26 words / (9 · 9) = 2.25; others occur once, and score nothing.
    assert learn_phrases(texts, PhrasesConfig(min_count=1, threshold=2.2)) == [("teddy", "bear")]
    assert learn_phrases(texts, PhrasesConfig(min_count=1, threshold=2.3)) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ""),
        ("teddy", "teddy"),
        ("a teddy bear", "a teddy_bear"),
        ("teddy bear teddy bear bear", "teddy_bear teddy_bear bear"),
        ("bear teddy", "bear teddy"),
    ],
)
def test_joining(words, expected):
    assert join(words.split(), {("teddy", "bear")}) == expected.split()


def test_two_passes_find_longer_phrases():
    texts = ["new york times", "the new york times", "new york times", "the old one", "an old one"]
    phrases = {"min_count": 1, "threshold": 1.5, "passes": 2}
    vocabulary = built(texts * 3, phrases=phrases)
    assert "new_york_times" in vocabulary
    assert vocabulary.number("New York Times") == vocabulary.number("new_york_times")
    assert len(vocabulary.encode("a new york times")) == 1


def test_a_word_that_was_never_seen_is_an_error_with_the_nearest():
    with pytest.raises(DataError, match="'tedy' is not in the vocabulary") as caught:
        built().number("tedy")
    assert "did you mean 'teddy'" in str(caught.value)


@pytest.mark.parametrize("texts", [[], [""], ["…"], ["one one one"]])
def test_too_little_text(texts):
    with pytest.raises(DataError, match=r"no words in the text|occur 1 times"):
        built(texts)


def test_a_bad_expression_is_refused():
    with pytest.raises(ConfigError, match="not a regular expression"):
        VocabularyConfig.parse({"remove": "("})


def test_saved_and_loaded(tmp_path):
    path = tmp_path / "vocabulary.json"
    vocabulary = built(TEXTS * 3, phrases={"min_count": 1, "threshold": 1.0})
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert list(loaded) == list(vocabulary)
    assert loaded.counts.tolist() == vocabulary.counts.tolist()
    assert loaded.encode(TEXTS[1]).tolist() == vocabulary.encode(TEXTS[1]).tolist()
    path.write_text(json.dumps({"words": ["a"]}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot read the vocabulary"):
        Vocabulary.load(path)


def test_counting_more_than_fits_forgets_the_rarest():
    counter: PrunedCounter[str] = PrunedCounter(largest=3)
    counter.update(["a", "a", "b", "b", "b", "c", "d"])
    assert counter.counts == {"a": 2, "b": 3}
    assert (counter.forgotten, counter.total) == (1, 7)
    counter.update(["e", "f"])  # b, a, e, f: over the limit, counts up to 2 are forgotten
    assert counter.counts == {"b": 3}

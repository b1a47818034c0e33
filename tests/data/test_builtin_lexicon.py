"""The tables of the built-in corpus: complete, unambiguous, and enough of everything to learn."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from peluche.data.builtin import elision, lexicon
from peluche.data.builtin.heldout import held_out, names
from peluche.data.builtin.pools import pools
from peluche.errors import DataError


@pytest.mark.parametrize("table", ["nouns", "adjectives", "adverbs", "prepositions"])
def test_an_english_word_stands_once_in_its_table(table: str) -> None:
    counts = Counter(row["english"] for row in lexicon.rows(table))
    assert [word for word, count in counts.items() if count > 1] == []


def test_a_verb_frame_stands_once() -> None:
    counts = Counter(
        (row["english"], row["english_preposition"], row["frame"], row["french_preposition"])
        for row in lexicon.rows("verbs")
    )
    assert max(counts.values()) == 1
    # In English, what follows must tell the frames of one verb apart.
    surfaces = defaultdict(list)
    for verb in lexicon.load().verbs:
        surfaces[verb.base, verb.preposition, verb.frame].append(verb)
    for same in surfaces.values():
        assert len(same) == 1


def test_plurals_differ_from_singulars_in_english() -> None:
    """ "The sheep" would be both le mouton and les moutons."""
    assert not [noun.name for noun in lexicon.load().nouns if len(set(noun.english)) == 1]


def test_every_tag_asked_for_exists() -> None:
    built = pools()
    for verb in built.lexicon.verbs:
        assert built.subjects[verb], verb.base
        assert bool(built.objects[verb]) == (verb.frame not in ("none", "content")), verb.base
    known = {tag for noun in built.lexicon.nouns for tag in noun.tags}
    asked = [adjective.tags for adjective in built.lexicon.adjectives]
    asked += [verb.subjects | verb.objects for verb in built.lexicon.verbs]
    assert {tag for tags in asked for tag in tags} <= known


def test_every_lemma_keeps_combinations_for_training() -> None:
    kept: Counter[tuple[str, str]] = Counter()
    for number, pair in names().items():
        if number not in held_out():
            first, second = pair.kind.split()
            kept[first, pair.first] += 1
            kept[second, pair.second] += 1
    built = lexicon.load()
    assert min(kept["adjective", adjective.english] for adjective in built.adjectives) >= 3
    assert min(kept["verb", verb.base] for verb in built.verbs) >= 3
    assert min(kept["noun", noun.name] for noun in built.nouns) >= 4


def test_participles_are_given_where_they_can_agree() -> None:
    for verb in lexicon.load().verbs:
        agrees = verb.etre or verb.frame in ("direct", "recipient")
        assert all(verb.participles) == agrees, verb.base


@pytest.mark.parametrize(
    ("word", "following", "joined"),
    [("que", "une", "qu'"), ("que", "la", "que "), ("de", "un", "d'"), ("ne", "étais", "n'")],
)
def test_elision(word: str, following: str, joined: str) -> None:
    assert elision.elided(word, following) == joined


@pytest.mark.parametrize(
    ("preposition", "determiner", "joined"),
    [
        ("de", "le ", "du "),
        ("de", "les ", "des "),
        ("de", "les deux ", "des deux "),
        ("de", "l'", "de l'"),
        ("de", "la ", "de la "),
        ("de", "un ", "d'un "),
        ("de", "leur ", "de leur "),
        ("à", "le ", "au "),
        ("à", "les ", "aux "),
        ("à", "l'", "à l'"),
        ("à", "cette ", "à cette "),
    ],
)
def test_contraction(preposition: str, determiner: str, joined: str) -> None:
    assert elision.contracted(preposition, determiner) == joined


def test_a_short_row_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Folder:
        def joinpath(self, name: str) -> Folder:
            return self

        def read_text(self, encoding: str) -> str:
            return "english\tfrench\tkind\nnow\tmaintenant\n"

    monkeypatch.setattr(lexicon.resources, "files", lambda package: Folder())
    with pytest.raises(DataError, match=r"adverbs\.tsv:2") as caught:
        lexicon.rows("adverbs")
    assert "3 filled columns" in caught.value.what

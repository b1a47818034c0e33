"""The built-in corpus as drawn: a function from English, held-out compositions, disjoint splits."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from peluche.data.builtin import Example, english, examples, french, generate, is_held_out
from peluche.data.builtin.constructions import CONSTRUCTIONS, draw
from peluche.data.builtin.corpus import PATIENCE, SPLITS, Split
from peluche.data.builtin.heldout import held_out, names
from peluche.data.builtin.lexicon import load
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import compositions
from peluche.errors import DataError

LECTURE = ("A cute teddy bear is reading.", "Un ours en peluche mignon lit.")
DRAWS = 200_000

UNELIDED = re.compile(r"\b(?:le|la|de|que|je|ne|se|me|te|ce) [aeiouâàéèêëîïôûœ]", re.I)
UNCONTRACTED = re.compile(r"\b(?:de|à) les? \w+", re.I)
ASPIRATED = re.compile(
    r"(?:'|\b(?:bel|vieil|nouvel|cet) )(?:hibou|hérisson|hamster|hache|harpe|haricot|hamac|héros\b)"
)
SHAPE = re.compile(r"[A-ZÀÉÊÎÔÛŒ][a-zàâçéèêëîïôûùœ' ,-]+(?:\.| \?)")


@pytest.fixture(scope="module")
def drawn() -> tuple[dict[str, str], int, list[tuple[str, str, str]]]:
    """Sentences before any filter: the mapping, the number of draws, and what contradicts it."""
    sampler = Sampler("a test of the language")
    mapping: dict[str, str] = {}
    contradictions = []
    for _ in range(DRAWS):
        _, tree = draw(sampler)
        source, target = english.sentence(tree), french.sentence(tree)
        if mapping.setdefault(source, target) != target:
            contradictions.append((source, target, mapping[source]))
    return mapping, DRAWS, contradictions


@pytest.fixture(scope="module")
def splits() -> dict[Split, list[Example]]:
    sizes: dict[Split, int] = {"train": 30_000, "validation": 1_000, "test": 2_000}
    return {split: list(examples(split, size, 7)) for split, size in sizes.items()}


def test_one_english_sentence_has_one_translation(drawn) -> None:
    mapping, _, contradictions = drawn
    assert contradictions == []
    assert len(mapping) > 0.9 * DRAWS


def test_over_a_million_distinct_pairs(drawn) -> None:
    """Draws that repeat earlier ones bound the size of the language from below.

    With m equally likely sentences, n draws repeat about n² / 2m times, and any inequality of
    their probabilities adds repeats.
    """
    mapping, draws, _ = drawn
    repeats = draws - len(mapping)
    assert draws**2 / (2 * repeats) > 1_000_000


def test_french_spelling_at_word_borders(drawn) -> None:
    mapping, _, _ = drawn
    text = "\n".join(mapping.values())
    assert UNELIDED.findall(text) == []
    assert ASPIRATED.findall(text) == []
    # "de le" and "à les" never meet, not even as preposition and pronoun.
    assert UNCONTRACTED.findall(text) == []
    assert "  " not in text
    assert "’" not in text


def test_sentences_begin_and_end_as_sentences(drawn) -> None:
    mapping, _, _ = drawn
    for source, target in mapping.items():
        assert SHAPE.fullmatch(target), target
        assert source[0].isupper(), source
        assert source[-1] == target[-1], (source, target)


def test_every_construction_is_drawn() -> None:
    counts = Counter(example.construction for example in examples("train", 2_000, 3))
    assert set(counts) == set(CONSTRUCTIONS)


def test_most_sentences_are_short(splits) -> None:
    lengths = [len(example.english.split()) for example in splits["train"]]
    assert sum(4 <= length <= 14 for length in lengths) > 0.9 * len(lengths)
    assert max(lengths) < 30


def test_every_lemma_is_in_training(splits) -> None:
    """Each noun, adjective and verb is seen in some form, at least once in a thousand sentences."""
    text = Counter(
        word
        for example in splits["train"]
        for word in re.findall(r"[a-z-]+", example.english.lower())
    )
    lexicon = load()
    forms = [(n.name, [f.split()[-1] for f in n.english]) for n in lexicon.nouns]
    forms += [(adjective.english, [adjective.english]) for adjective in lexicon.adjectives]
    forms += [
        (v.base, [f.split()[0] for f in (v.base, v.third, v.progressive, v.past)])
        for v in lexicon.verbs
    ]
    assert {name: n for name, words in forms if (n := sum(text[w] for w in words)) < 30} == {}


def test_distinct_within_and_disjoint_between_splits(splits) -> None:
    sources = {split: [example.english for example in some] for split, some in splits.items()}
    for split in SPLITS:
        assert len(set(sources[split])) == len(sources[split])
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert set(sources[first]).isdisjoint(sources[second])


def test_splits_stay_disjoint_across_seeds() -> None:
    train = {source for source, _ in generate("train", 20_000, 1)}
    for seed in (2, 3):
        assert train.isdisjoint(source for source, _ in generate("validation", 300, seed))


def test_compositions_of_the_trees(splits) -> None:
    kept_out = held_out()
    for example in splits["train"]:
        assert kept_out.isdisjoint(example.compositions), example
    for example in splits["test"]:
        assert not kept_out.isdisjoint(example.compositions), example
    novel = [not kept_out.isdisjoint(example.compositions) for example in splits["validation"]]
    assert sum(novel) == len(novel) // 2


def test_every_composition_is_one_the_tables_license() -> None:
    """Otherwise it could never be held out."""
    sampler = Sampler("licences")
    for _ in range(20_000):
        _, tree = draw(sampler)
        assert set(compositions(tree)) <= names().keys(), english.sentence(tree)


def test_held_out_compositions_on_the_surface(splits) -> None:
    """Without the trees: no training sentence says them, and tests do."""
    bear = r"(?:[a-z]+ )*teddy bears?"
    cute = re.compile(
        rf"\bcute (?:and )?(?:[a-z]+ )?teddy bears?|"
        rf"\b{bear} (?:that )?(?:is|are|was|were)(?: not)?(?: \w+)?(?: as| be)? cute",
        re.I,
    )
    read = re.compile(
        rf"^(?:[a-z]+ )?{bear} (?:(?:that )?"
        r"(?:is|are|has|have|can|cannot|must|wants?|do|does|did|not|never|often|always|sometimes|"
        r"going|to) )*read(?:s|ing)?\b",
        re.I,
    )
    for pattern, sentence in (
        (cute, "The cute small teddy bears sleep."),
        (cute, "My old teddy bear is not very cute."),
        (read, LECTURE[0]),
        (read, "The teddy bears are not going to read a book."),
    ):
        assert pattern.search(sentence)
    training = [example.english for example in splits["train"]]
    assert [text for text in training if cute.search(text) or read.search(text)] == []
    test = [example.english for example in splits["test"]]
    assert any(cute.search(text) for text in test)
    assert sum("teddy bear" in text for text in training) > 200


def test_the_partition_is_fixed() -> None:
    """A change here makes every published figure on held-out sentences incomparable."""
    assert is_held_out("cute", "teddy bear")
    assert is_held_out("teddy bear", "read")
    pairs = names().values()
    digest = hashlib.sha256(
        "\n".join(sorted(f"{p.first} {p.second}" for p in pairs if is_held_out(*p[1:]))).encode()
    ).hexdigest()
    assert digest[:16] == "1e78955528fd9fef"
    share = len(held_out()) / len(names())
    assert 0.095 < share < 0.105


def test_the_lecture_sentence_leads_the_test_split() -> None:
    for seed in range(3):
        first = next(iter(examples("test", 5, seed)))
        assert (first.english, first.french) == LECTURE
        pairs = {(pair.first, pair.second) for pair in first.named()}
        assert pairs == {("cute", "teddy bear"), ("teddy bear", "read")}


def test_a_smaller_size_is_a_prefix() -> None:
    for split in SPLITS:
        assert list(generate(split, 50, 4)) == list(islice(generate(split, 500, 4), 50))


def test_seeds_differ() -> None:
    assert list(generate("train", 50, 1)) != list(generate("train", 50, 2))


def test_the_corpus_does_not_depend_on_the_process() -> None:
    program = (
        "import hashlib; from peluche.data.builtin import generate;"
        "print(hashlib.sha256(repr(list(generate('train', 300, 5))).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "4242")
    }
    here = hashlib.sha256(repr(list(generate("train", 300, 5))).encode()).hexdigest()
    assert digests == {here + "\n"}
    assert here[:16] == "0a9e2f49047f20a4"


def test_nothing_is_drawn_for_a_size_of_zero() -> None:
    assert [list(generate(split, 0, 1)) for split in SPLITS] == [[], [], []]


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="no split 'valid'") as caught:
        generate("valid", 10, 1).__next__()  # type: ignore[arg-type]
    assert "did you mean 'validation'?" in str(caught.value.remedy)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(DataError, match="cannot have -1 pairs"):
        next(generate("train", -1, 1))


def test_an_exhausted_language_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    one = draw(Sampler("one"))
    monkeypatch.setattr("peluche.data.builtin.corpus.draw", lambda sampler: one)
    monkeypatch.setattr("peluche.data.builtin.corpus.PATIENCE", min(PATIENCE, 100))
    with pytest.raises(DataError, match="no more than about 1 train pairs"):
        list(generate("train", 2, 1))

"""What is dropped: each rule at its edge, duplicates against brute force, reports add up."""

import gzip
import json
import random
import sys
from functools import cache

import pytest

from peluche.data.cleaning import language
from peluche.data.cleaning.choice import Cleaning
from peluche.data.cleaning.clean import clean, report_file
from peluche.data.cleaning.decontamination import Decontamination
from peluche.data.cleaning.duplicates import ExactDuplicates, NearDuplicates
from peluche.data.cleaning.language import Languages
from peluche.data.cleaning.quality import c4, gopher_quality, gopher_repetition
from peluche.data.cleaning.steps import Dropped
from peluche.data.text_parts import PlainText
from peluche.data.text_sources import plain_texts
from peluche.errors import ConfigError, DataError, MissingExtraError

chance = random.Random(0)
NOUNS = [f"{a}{b}{c}er" for a in "bcdfg" for b in "aeiou" for c in "lmnprst"]


def words(count):
    return [chance.choice(NOUNS) for _ in range(count)]


def prose(count):
    """Different words, three stop words among them."""
    return " ".join(["the", "bears", "of", "and", *chance.sample(NOUNS, count - 4)])


def verdict(step, text):
    found = step(PlainText(text, "here"))
    return found.reason if isinstance(found, Dropped) else None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (prose(50), None),
        (prose(49), "length in words"),
        ("the of " * 25 + "a " * 60, "word length"),
        ("the of " + "incomprehensibly " * 60, "word length"),
        (prose(60) + " #" * 6, None),
        (prose(60) + " #" * 7, "symbols"),
        (prose(60) + "..." * 7, "symbols"),
        ("\n".join(f"- {prose(10)}" for _ in range(10)), "bullet lines"),
        ("\n".join([prose(10)] + [f"- {prose(10)}" for _ in range(9)]), None),
        (
            "\n".join(f"{prose(20)}{'...' * (n < 4)}" for n in range(12)),
            "lines ending in an ellipsis",
        ),
        ("\n".join(f"{prose(20)}{'…' * (n < 3)}" for n in range(12)), None),
        (prose(60) + " 1234" * 15, None),
        (prose(60) + " 1234" * 16, "words without letters"),
        (" ".join(["The", *chance.sample(NOUNS, 60)]), "stop words"),
        (" ".join(["The", "OF", *chance.sample(NOUNS, 60)]), None),
    ],
)
def test_gopher_quality(text, reason):
    assert verdict(gopher_quality, text) == reason


def by_brute_force(text, n):
    """The share of characters in words that belong to an n-gram that occurs more than once."""
    tokens = text.split()
    grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    inside = [
        any(
            grams.count(grams[start]) > 1
            for start in range(max(0, place - n + 1), min(place, len(grams) - 1) + 1)
        )
        for place in range(len(tokens))
    ]
    return sum(len(t) for t, within in zip(tokens, inside, strict=True) if within) / sum(
        map(len, tokens)
    )


@pytest.mark.parametrize("n", [5, 8])
def test_repeated_n_grams_are_those_of_brute_force(n):
    limit = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    outcomes = set()
    for rest in (42, 55, 60, 92, 95, 105, 115, 125):
        phrase = " ".join(chance.sample(NOUNS, n))
        text = f"{phrase} {' '.join(words(rest))} {phrase}"
        expected = next((k for k in limit if by_brute_force(text, k) > limit[k]), None)
        found = verdict(gopher_repetition, text)
        assert found == (f"repeated {expected}-grams" if expected else None)
        outcomes.add(found)
    assert len(outcomes) > 1


LINES = [" ".join(NOUNS[start : start + 5]) for start in range(0, 50, 5)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n".join(LINES[:7] + ["again"] * 4), None),
        ("\n".join(LINES[:7] + ["x"] * 5), "repeated lines"),
        ("\n".join([*LINES[:9], *["xy" * 50] * 2]), "repeated lines"),
        ("\n".join([*LINES[:9], *["xy" * 30] * 2]), None),
        ("\n\n".join(["\n".join(LINES), "x", "x", "y", "y"]), "repeated paragraphs"),
        ("a b a b a b a b a b", "repeated 2-grams"),
        ("", None),
        ("word", None),
    ],
)
def test_repetition(text, reason):
    assert verdict(gopher_repetition, text) == reason


def test_c4_keeps_lines_that_are_sentences():
    good = 'This is a sentence of words.\nIs that one as well? Yes!\nAnd he said: "So it is."'
    bad = "Home | About | Contact\nToo short.\nPlease turn Javascript on to read this."
    mixed = "\n".join([bad, good, "no end of this line here"])
    assert c4(PlainText(mixed, "")) == good
    assert verdict(c4, "Only one sentence is in here.\n" + bad) == "few sentences"
    assert verdict(c4, good + "\nLorem Ipsum dolor.") == "lorem ipsum"
    assert verdict(c4, good + "\nfunction f() { return; }") == "curly bracket"


def test_exact_duplicates():
    step = ExactDuplicates()
    said = [verdict(step, text) for text in ("a b", "A b", " a\n b ", "a b c", "a b c")]
    assert said == [None, None, "exact duplicate", None, "exact duplicate"]


@cache
def shingles(text, n=5):
    tokens = text.split()
    return {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}


def jaccard(one, other):
    both = shingles(one) & shingles(other)
    return len(both) / (len(shingles(one)) + len(shingles(other)) - len(both))


def test_near_duplicates_are_those_of_brute_force():
    """Far from the threshold, where the estimate is sure."""
    pytest.importorskip("rensa")
    step = NearDuplicates(0.8)
    kept = []
    counts = {True: 0, False: 0}
    for number in range(60):
        if kept and number % 2:
            text = chance.choice(kept).split()
            for _ in range((1, 15)[number // 2 % 2]):
                text[chance.randrange(len(text))] = chance.choice(NOUNS)
            text = " ".join(text)
        else:
            text = " ".join(words(200))
        similar = max((jaccard(text, other) for other in kept), default=0)
        assert similar > 0.92 or similar < 0.68
        found = step(PlainText(text, "same place"))
        assert isinstance(found, Dropped) == (similar > 0.8)
        counts[similar > 0.8] += 1
        if similar < 0.8:
            kept.append(text)
        else:
            assert found.detail.startswith("of same place (text ")
    assert min(counts.values()) > 10
    assert verdict(step, "few words") is None
    assert verdict(step, "Few  words") == "near duplicate"


def test_languages():
    pytest.importorskip("py3langid")
    step = Languages(["en", "fr"])
    english = "The children were playing in the garden when the rain began to fall."
    assert verdict(step, english) is None
    assert verdict(step, "Les enfants jouaient dans le jardin quand la pluie commença.") is None
    german = step(PlainText("Die Kinder spielten im Garten, als der Regen begann.", ""))
    assert german.reason == "language"
    assert german.detail.startswith("de (")
    assert verdict(Languages(["en"], confidence=1.0), english) == "unsure language"
    with pytest.raises(ConfigError, match="the language 'eng' is not known"):
        Languages(["eng"])


def test_decontamination():
    question = "Natalia sold clips to 48 of her friends in April, and then she sold half as many."
    examples = [PlainText(text, f"test:{n}") for n, text in enumerate([question, "too short"])]
    short = PlainText("one two three four five six seven eight nine", "test:9")
    step = Decontamination([*examples, short])
    assert step.short == 1
    inside = "xx natalia SOLD clips, to 48 of her friends in April -- and then she yy"
    assert step(PlainText(inside, "")) == Dropped(
        "contamination",
        "'natalia sold clips to 48 of her friends in april and then she', as in test:0",
    )
    assert verdict(step, "xx sold clips to 48 of her friends in april and then yy") is None
    assert verdict(step, "and one two three four five six seven eight nine ten") == "contamination"
    assert verdict(step, "one two three four five six seven eight ten") is None
    two = Decontamination(examples, n=3, matches=2)
    assert verdict(two, "she sold half of it") is None
    assert verdict(two, "she sold half as it is") == "contamination"
    with pytest.raises(DataError, match="no example of the evaluation sets"):
        Decontamination([PlainText("too short", "")])


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    copied = prose(80)
    texts = [copied, prose(90), copied, "too short", "", prose(60) + " #" * 20]
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return path


def test_reports_add_up(corpus, tmp_path):
    steps = Cleaning(rules=("gopher",)).steps(print)
    out = tmp_path / "clean.jsonl.gz"
    report = clean(plain_texts(str(corpus)), out, steps)
    rows = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert [row["where"] for row in rows] == ["corpus.jsonl:1", "corpus.jsonl:2"]
    values = json.loads(report_file(out).read_bytes())
    assert values == report.as_json()
    assert report_file(out).name == "clean.report.json"
    counts = {reason: found["documents"] for reason, found in values["dropped"].items()}
    assert counts == {"exact duplicate": 1, "length in words": 1, "symbols": 1, "empty": 1}
    assert values["read"]["documents"] == 6 == values["kept"]["documents"] + sum(counts.values())
    dropped = sum(found["bytes"] for found in values["dropped"].values())
    assert values["read"]["bytes"] == values["kept"]["bytes"] + dropped
    (example,) = values["dropped"]["symbols"]["examples"]
    assert (example["where"], example["detail"]) == ("corpus.jsonl:6", "20 hash signs in 80 words")
    rows = {row[0]: row for row in report.table()}
    assert rows["symbols"][1:3] == ("1", "16.67%")
    before = out.read_bytes()
    clean(plain_texts(str(corpus)), out, Cleaning(rules=("gopher",)).steps(print))
    assert out.read_bytes() == before


def test_what_is_taken_out_is_counted(tmp_path):
    path = tmp_path / "page.txt"
    good = "Bears sleep all winter long. They eat in summer.\nIs that so? It is."
    path.write_text("Menu\n" + good, encoding="utf-8")
    source = plain_texts(str(path), kind="document")
    report = clean(source, tmp_path / "out.jsonl", Cleaning(rules=("c4",)).steps(print))
    assert (report.changed.documents, report.kept.bytes) == (1, len(good))
    assert report.read.bytes == report.kept.bytes + report.changed.bytes


def test_nothing_left_and_nothing_lost(corpus, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("old", encoding="utf-8")
    steps = Cleaning(rules=("c4",)).steps(print)
    with pytest.raises(DataError, match=r"no text is left of \d \(few sentences: 4"):
        clean(plain_texts(str(corpus)), out, steps)
    assert out.read_text(encoding="utf-8") == "old"
    with corpus.open("a", encoding="utf-8") as stream:
        stream.write("{broken\n")
    with pytest.raises(DataError, match="not valid JSON"):
        clean(plain_texts(str(corpus)), out, [])
    assert out.read_text(encoding="utf-8") == "old"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("package", "values"), [("rensa", {"near": 0.8}), ("py3langid", {"languages": ("en",)})]
)
def test_what_is_not_installed(monkeypatch, package, values):
    language._identifier.cache_clear()
    for name in (package, f"{package}.langid"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=package) as error:
        Cleaning(**values).steps(print)
    assert "peluche[quality]" in str(error.value)


def test_a_rule_that_is_not_there():
    with pytest.raises(ConfigError, match="there is no rule 'gohper'; did you mean 'gopher'"):
        Cleaning.parse({"rules": ["gohper"]})

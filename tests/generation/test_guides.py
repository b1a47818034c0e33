"""Guides: what random logits write under them is what was asked for."""

from __future__ import annotations

import calendar
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models

from peluche.errors import ConfigError, DataError, MissingExtraError
from peluche.generation.guides import GuideFactory, JsonSchemaGuide
from peluche.generation.json_schemas import followable
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Chosen, Sampler
from peluche.text.tokenizer import SpecialIds, Tokenizer, TokenizerConfig

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from guided import RandomRunner, case, complaint
from peluche.text.token_bytes import token_bytes
from random_schemas import random_schema

ROW = 32
BALANCED = 'start: "(" start ")" | "x"'


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = [json.dumps(random_schema(seed), ensure_ascii=False) for seed in range(40)]
    return TokenizerConfig(kind="bpe", vocab_size=500, byte_level=True).build(texts)


@pytest.fixture(scope="module")
def factory(tokenizer) -> GuideFactory:
    return GuideFactory(tokenizer)


def request(guide: dict, **options: object) -> GenerationRequest:
    return GenerationRequest.parse({"tokens": [5], "max_tokens": 300, "guide": guide, **options})


def nested(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def write(
    tokenizer: Tokenizer, factory: GuideFactory, requests: Sequence[GenerationRequest]
) -> list[str | None]:
    """What random logits write for each request, all in one batch; None if it was cut."""
    sampler = Sampler(tokenizer.special, factory.vocabulary, factory)
    runner = RandomRunner(token_bytes(tokenizer), factory.vocabulary, tokenizer.eos_id)
    written: dict[int, list[int]] = {}
    for key, one in enumerate(requests):
        sampler.add(key, one)
        written[key] = []
    texts: list[str | None] = [None] * len(requests)
    going = list(written)
    while going:
        places = [13 * len(written[key]) + sum(written[key][-1:]) for key in going]
        rows = runner.table[[place % len(runner.table) for place in places]]
        for key, chosen in zip(list(going), sampler.choose(going, rows), strict=True):
            assert isinstance(chosen, Chosen), str(chosen)
            written[key].append(chosen.token)
            if chosen.ended:
                texts[key] = tokenizer.decode(written[key])
            if chosen.ended or len(written[key]) == requests[key].max_tokens:
                going.remove(key)
    return texts


@pytest.mark.parametrize(
    "pattern", [r"[a-c]{3,5}", r"[0-9]+(\.[0-9]{2})?", r"é(日|本)*😀", r"(?i:abc)"]
)
def test_expressions_match_as_a_whole(tokenizer, factory, pattern):
    guide = {"kind": "regex", "pattern": pattern}
    texts = write(tokenizer, factory, [request(guide, sampling={"seed": s}) for s in range(8)])
    assert len(set(texts)) > 1
    assert all(re.fullmatch(pattern, text) for text in texts if text is not None)
    assert sum(text is not None for text in texts) > 3


def test_choices_are_taken_letter_by_letter(tokenizer, factory):
    choices = ["yes", "yes, but", 'no "\\\n', "日本 😀", "é"]
    guide = {"kind": "choice", "choices": choices}
    hot = [request(guide, sampling={"seed": s, "temperature": 99}) for s in range(60)]
    assert set(write(tokenizer, factory, hot)) == set(choices)


def test_grammars_are_followed(tokenizer, factory):
    guide = {"kind": "grammar", "lark": BALANCED}
    hot = [request(guide, sampling={"seed": s, "temperature": 9}) for s in range(20)]
    texts = write(tokenizer, factory, hot)
    depths = {text.count("(") for text in texts}
    assert len(depths) > 1
    assert all(text == "(" * n + "x" + ")" * n for text in texts for n in [text.count("(")])


@pytest.mark.parametrize("start", range(0, 96, ROW))
def test_random_schemas_are_kept_whatever_the_logits(tokenizer, factory, start):
    requests = [case(number, [5], 300) for number in range(start, start + ROW)]
    texts = write(tokenizer, factory, requests)
    for one, text in zip(requests, texts, strict=True):
        assert text is None or complaint(text, one.guide.json_schema) is None, text
    assert texts.count(None) < ROW // 4, "most are not cut"


def test_the_complaints_are_heard():
    schema = {"type": "object", "properties": {"a": {"format": "date"}}, "required": ["a"]}
    assert "no JSON" in complaint('{"a"', schema)
    assert "required" in complaint("{}", schema)
    assert "date" in complaint('{"a": "2023-02-29"}', schema)
    assert complaint('{"a": "0000-02-29"}', schema) is None


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("time", "23:59:60z", "23:58:60Z"),
        ("time", "05:29:60+05:30", "23:59:60+05:30"),
        ("time", "15:59:60.5-08:00", "10:00:00"),
        ("time", "00:00:00Z", "24:00:00Z"),
        ("date-time", "2024-02-29T10:00:00Z", "2023-02-29T10:00:00Z"),
        ("date-time", "0000-02-29t10:00:00Z", "2024-02-29 10:00:00Z"),
        ("date", "2000-02-29", "1900-02-29"),
        ("date", "2000-12-31", "2000-W01-1"),
    ],
)
def test_the_judge_knows_dates_and_times(form, right, wrong):
    assert complaint(json.dumps(right), {"format": form}) is None
    assert complaint(json.dumps(wrong), {"format": form}) is not None


def test_a_guide_ends_with_its_last_token_or_with_eos(tokenizer, factory):
    sampler = Sampler(tokenizer.special, factory.vocabulary, factory)
    sampler.add(0, request({"kind": "regex", "pattern": "[ac]b"}))
    sampler.add(1, request({"kind": "regex", "pattern": "[ac]b*"}))
    logits = torch.zeros(2, factory.vocabulary)
    logits[:, tokenizer.id("a")] = 20.0
    assert [chosen.ended for chosen in sampler.choose([0, 1], logits)] == [False, False]
    logits[0, tokenizer.id("b")] = logits[1, tokenizer.eos_id] = 30.0
    first, second = sampler.choose([0, 1], logits)
    assert (first.token, first.ended) == (tokenizer.id("b"), True)
    assert (second.token, second.ended) == (tokenizer.eos_id, True)


def test_requests_without_a_guide_are_not_concerned(tokenizer, factory):
    guided = request({"kind": "regex", "pattern": "[a-c]+"}, sampling={"seed": 1})
    free = GenerationRequest(tokens=(5,), max_tokens=300)
    alone, together = (Sampler(tokenizer.special, factory.vocabulary, factory) for _ in range(2))
    together.add(0, guided)
    together.add(1, free)
    alone.add(1, free)
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        logits = torch.randn(2, factory.vocabulary, generator=generator)
        assert together.choose([0, 1], logits)[1] == alone.choose([1], logits[1:])[0]


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        ({"kind": "regex", "pattern": "(a"}, "the regex cannot be used: .*unclosed group"),
        ({"kind": "grammar", "lark": "start: x"}, 'the grammar cannot .*unknown name: "x"'),
        ({"kind": "json_schema", "json_schema": {"type": "foo"}}, "Invalid type: foo"),
        ({"kind": "json_schema", "json_schema": {"$ref": "#/nope"}}, "'/nope' does not exist"),
        ({"kind": "json_schema", "json_schema": {"uniqueItems": True}}, "uniqueItems"),
        (
            {"kind": "json_schema", "json_schema": {"type": "number", "minimum": 5, "maximum": 3}},
            r"minimum \(5\) is greater than maximum \(3\)",
        ),
        ({"kind": "json_schema", "json_schema": {"exclusiveMinimum": True}}, "how draft 4"),
        ({"kind": "json_schema", "json_schema": {"exclusiveMinimum": 10**400}}, "too large"),
        ({"kind": "json_schema", "json_schema": {"minimum": 10**400}}, "not JSON serializable"),
        ({"kind": "json_schema", "json_schema": nested(3000)}, "recursion"),
        ({"kind": "regex", "pattern": "\ud800"}, "the regex cannot be used: .*surrogates"),
    ],
)
def test_a_guide_that_cannot_be_read_fails_alone(tokenizer, factory, guide, message):
    sampler = Sampler(tokenizer.special, factory.vocabulary, factory)
    sampler.add(0, request({"kind": "regex", "pattern": "a+"}))
    with pytest.raises(ConfigError, match=f"(?s){message}.*where: the guide of this request"):
        sampler.add(1, request(guide))
    assert sampler.choose([0], torch.zeros(1, factory.vocabulary))[0].token == tokenizer.id("a")


def test_a_text_that_the_vocabulary_cannot_write_fails_alone():
    tokenizer = TokenizerConfig(kind="character").build(["abcab"])
    factory = GuideFactory(tokenizer)
    sampler = Sampler(tokenizer.special, factory.vocabulary, factory)
    for key, pattern in enumerate(["axa", "aba"]):
        sampler.add(key, request({"kind": "regex", "pattern": pattern}))
    logits = torch.zeros(2, factory.vocabulary)
    sampler.choose([0, 1], logits)
    first, second = sampler.choose([0, 1], logits)
    assert isinstance(first, DataError)
    assert "no token for what the guide asks for" in str(first)
    assert second.token == tokenizer.id("b")


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "character"},
        {"kind": "byte"},
        {"kind": "bpe", "vocab_size": 60},
        {"kind": "wordpiece", "vocab_size": 60},
        {"kind": "unigram", "vocab_size": 60},
        {"kind": "word"},
    ],
    ids=lambda options: options["kind"],
)
def test_tokenizers_of_every_kind_can_be_guided(options):
    tokenizer = TokenizerConfig.parse(options).build(["the cat sat on the mat, the dog"] * 3)
    factory = GuideFactory(tokenizer, len(tokenizer) + 7)
    # A word begins with the space before it.
    guide = {"kind": "regex", "pattern": "( the| cat| mat| dog|,){1,6}"}
    texts = write(tokenizer, factory, [request(guide, sampling={"seed": s}) for s in range(6)])
    assert all(re.fullmatch(r"( ?(the|cat|mat|dog)|,)( the| cat| mat| dog|,)*", t) for t in texts)


def test_tokenizers_that_cannot_be_guided_say_so(tokenizer):
    bert = Rust(models.WordPiece({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))
    bert.decoder = decoders.WordPiece()
    with pytest.raises(ConfigError, match="depends on those around them"):
        GuideFactory(Tokenizer(bert, SpecialIds(-1, 0, -1, 1)))
    with pytest.raises(ConfigError, match="no token that ends a text"):
        GuideFactory(Tokenizer(tokenizer._rust, SpecialIds(-1, -1, -1, -1)))


def test_without_llguidance_the_error_says_what_to_install(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'peluche\[guided\]'"):
        GuideFactory(tokenizer)


@pytest.mark.parametrize("most", [0, 1, 5])
def test_white_space_has_an_end(tokenizer, factory, most):
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 3}
    guide = {"kind": "json_schema", "json_schema": schema, "whitespace": most}
    hot = [request(guide, sampling={"seed": s, "temperature": 50}) for s in range(20)]
    runs = [len(run) for text in write(tokenizer, factory, hot) for run in re.findall(r"\s+", text)]
    assert max(runs, default=0) == most


def test_bounds_that_exclude_themselves_move_inwards():
    schema = {
        "exclusiveMinimum": 0,
        "maximum": 0.5,
        "properties": {
            "exclusiveMinimum": {"type": "number", "exclusiveMaximum": -1e6, "maximum": 7},
            "whole": {"type": "integer", "exclusiveMinimum": 3},
        },
        "items": [{"anyOf": [{"exclusiveMinimum": 3, "minimum": 4}]}],
        "enum": [{"exclusiveMinimum": 1}],
        "additionalProperties": False,
    }
    assert followable(schema) == {
        "minimum": 1e-9,
        "maximum": 0.5,
        "properties": {
            "exclusiveMinimum": {"type": "number", "maximum": -1e6 - 1e-6},
            "whole": {"type": "integer", "exclusiveMinimum": 3},
        },
        "items": [{"anyOf": [{"minimum": 4}]}],
        "enum": [{"exclusiveMinimum": 1}],
        "additionalProperties": False,
    }


def test_classes_that_exclude_leave_out_nul_too():
    pattern = r"^[^a\]]\[^[b^][^\\]$"
    changed = r"^[^a\]\x00]\[^[b^][^\\\x00]$"
    schema = {"pattern": pattern, "patternProperties": {pattern: {"pattern": "[^x]"}}}
    assert followable({**schema, "enum": [schema]}) == {
        "pattern": changed,
        "patternProperties": {changed: {"pattern": r"[^x\x00]"}},
        "enum": [schema],
    }


def allows(factory: GuideFactory, tokenizer: Tokenizer, schema: dict, text: str) -> bool:
    guide = factory.build(JsonSchemaGuide(json_schema=schema, whitespace=0))
    for token in [*tokenizer.encode(text), tokenizer.eos_id]:
        if not guide.allowed()[token]:
            return False
        if guide.advance(token):
            break
    return True


@pytest.mark.parametrize("pattern", ['^[^"]$', "^[^\\\\]$", "^[^\\n]$", "^[^a-z]$", "^.$"])
@pytest.mark.parametrize("letter", ['"', "\\", "\n", "a", "é", "/", "\x01"])
def test_a_pattern_is_matched_by_the_string_and_not_by_how_it_is_written(
    tokenizer, factory, pattern, letter
):
    expected = re.search(pattern, letter) is not None
    schema = {"type": "string", "pattern": pattern}
    text = json.dumps(letter, ensure_ascii=False)
    assert allows(factory, tokenizer, schema, text) == expected


@pytest.mark.parametrize("low", [0, -0.5, 3])
def test_a_number_never_is_the_bound_that_it_excludes(tokenizer, factory, low):
    schema = {"exclusiveMinimum": low, "exclusiveMaximum": low + 0.5, "type": "number"}
    for text in [str(low), str(low + 0.5), str(int(low)), "-0"]:
        allowed = allows(factory, tokenizer, schema, text)
        assert not allowed or low < float(text) < low + 0.5


YEARS = ["0000", "1900", "2000", "2023", "2024", "2100"]
SECONDS = {
    "23:59:60Z": True,
    "23:59:60.25z": True,
    "23:59:59Z": True,
    "00:00:00+05:30": True,
    "23:58:60Z": False,
    "22:59:60Z": False,
    "23:59:60+05:30": False,
    "24:00:00Z": False,
}


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("form", ["date", "date-time"])
def test_only_leap_years_have_a_29th_of_february(tokenizer, factory, year, form):
    after = "T10:00:00Z" if form == "date-time" else ""
    others = [{"minLength": 10}]
    for schema in [{"format": form}, {"type": "string", "format": form, "allOf": others}]:
        for day in ["02-28", "02-29", "02-30", "04-30", "04-31", "12-31"]:
            exists = calendar.isleap(int(year)) if day == "02-29" else day not in ("02-30", "04-31")
            text = json.dumps(f"{year}-{day}{after}")
            assert allows(factory, tokenizer, schema, text) == exists
    assert others == [{"minLength": 10}]


@pytest.mark.parametrize("time", SECONDS)
def test_a_leap_second_is_the_last_of_a_day(tokenizer, factory, time):
    for form, text in [("time", time), ("date-time", f"2016-12-31t{time}")]:
        schema = {"format": form}
        assert allows(factory, tokenizer, schema, json.dumps(text)) == SECONDS[time]


def test_a_format_beside_what_is_no_list_is_left_to_llguidance(factory):
    with pytest.raises(ConfigError, match="cannot be used"):
        factory.build(JsonSchemaGuide(json_schema={"format": "date", "allOf": 3}))

"""Beam and contrastive search as settings of a request, among requests that draw."""

import json

import pytest
import torch

from peluche.errors import ConfigError, DataError, NumericsError
from peluche.models.decoder import DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.tasks.batch import run_batch
from peluche.tasks.complete import Completer
from peluche.tasks.engines import GeneratorConfig
from peluche.tasks.generate import TextGenerator
from peluche.tasks.text_requests import TextRequest
from peluche.text.tokenizer import TokenizerConfig

TEXT = "the cat sat on the mat and the dog sat on the log"
TOKENIZER = TokenizerConfig(
    kind="bpe", byte_level=True, vocab_size=280, normalization="none"
).build([TEXT])
# Eighteen blocks: those that draw have to make room for a search.
SMALL = GeneratorConfig.parse(
    {"block_size": 4, "memory": 512 * 72, "engine": {"running": 3, "step_tokens": 8}}
)
ASKED = [
    {"prompt": "the ", "temperature": 0.7, "seed": 3, "logprobs": 1},
    {"prompt": "cat sat", "beams": 4, "n_best": 3},
    {"prompt": "a", "temperature": 0},
    {"prompt": "on the", "beams": 3, "length_penalty": 0.0},
    {"prompt": "dog sat on", "penalty_alpha": 0.6, "candidates": 3},
    {"prompt": "été 🧸", "top_k": 5, "presence_penalty": 1.0},
]


def model_of(kind):
    torch.manual_seed(1)
    if kind == "recurrent":
        return RecurrentLMConfig(embedding=16, hidden=24, layers=2).build(len(TOKENIZER)).double()
    # In double precision, so that rounding makes no two candidates change places.
    return DecoderConfig(d_model=32, layers=2, heads=2, d_ff=32).build(len(TOKENIZER)).double()


@pytest.fixture(scope="module", params=["decoder", "recurrent"])
def model(request):
    return model_of(request.param)


@pytest.fixture
def generator(model):
    return TextGenerator(model, TOKENIZER, 40, SMALL)


def requests(asked=ASKED):
    return [
        TextRequest.flat({"max_tokens": 12, "stream": number, **values})
        for number, values in enumerate(asked)
    ]


def test_every_request_of_a_mixed_batch_gets_what_it_gets_alone(generator):
    # The search that needs most comes last, when others have been read.
    asked = requests()[::-1]
    for request, found in zip(asked, generator.generate(asked), strict=True):
        (alone,) = generator.generate([request])
        assert found.as_json() == alone.as_json()
        assert found.tokens or found.finish_reason == "stop"
    if hasattr(generator.engine, "pool"):
        assert generator.engine.counters.preemptions > 0
        assert generator.engine.pool.used == 0


def test_a_search_of_what_is_no_token_fails_alone(generator):
    lines = [json.dumps({"prompt": [5, 99999], "beams": 2}), json.dumps({"prompt": "the"})]
    bad, good = run_batch(generator, lines, {"max_tokens": 4})
    assert "there is no token 99999" in bad["error"]
    assert good["completion_tokens"] == 4 or good["finish_reason"] == "stop"


def test_a_search_that_fails_keeps_nobody_waiting(generator, monkeypatch):
    def broken(*_):
        raise ValueError("broken")

    monkeypatch.setattr("peluche.tasks.generate.search", broken)
    search, other = requests([ASKED[1], ASKED[0]])
    generator.start(search)
    writing = generator.start(other)
    with pytest.raises(ValueError, match="broken"):
        generator.step()
    while writing.result.finish_reason is None:
        generator.step()
    assert writing.result.tokens


def test_options_of_a_file_are_for_lines_that_can_have_them(generator):
    lines = [json.dumps({"prompt": "the", "beams": 2}), json.dumps({"prompt": "the", "beams": 1})]
    usual = {"max_tokens": 4, "stop": ["x"], "logprobs": 1, "temperature": 0.5}
    for defaults in (usual, {"max_tokens": 4, "beams": 3, "n_best": 2}):
        assert not any("error" in record for record in run_batch(generator, lines, defaults))


def test_a_search_finds_what_it_finds_without_an_engine(generator, model):
    completer = Completer(model, TOKENIZER)
    _, beams, _, _, contrastive, _ = generator.generate(requests())
    expected = completer.complete(["cat sat"], max_tokens=12, beams=4, n_best=3)
    assert [beams.text, *(text for text, _ in beams.alternatives)] == [one.text for one in expected]
    assert [beams.score, *(score for _, score in beams.alternatives)] == pytest.approx(
        [one.score for one in expected]
    )
    assert [said.id for said in beams.tokens] == expected[0].tokens
    assert [one["completion"] for one in beams.as_json()["alternatives"]] == [
        one.text for one in expected[1:]
    ]
    (other,) = completer.complete(["dog sat on"], max_tokens=12, penalty_alpha=0.6, candidates=3)
    assert (contrastive.text, contrastive.score) == (other.text, pytest.approx(other.score))


def test_the_length_penalty_is_the_requests_own(generator):
    asked = [{"prompt": "on the", "beams": 4, "length_penalty": value} for value in (0.0, 3.0)]
    short, long = generator.generate(requests(asked))
    assert len(short.tokens) <= len(long.tokens)
    assert short.score < long.score  # a sum, and a sum over length cubed


def test_a_search_is_streamed_as_a_whole(generator):
    _, request, *_ = requests()
    pieces = list(generator.stream(request))
    (alone,) = generator.generate([request])
    assert "".join(piece.text for piece in pieces) == alone.text
    assert pieces[-1].last
    stream = generator.stream(request)
    writing = generator.start(request)
    generator.cancel(writing)
    assert writing.result.finish_reason == "cancelled"
    assert next(stream).result.finish_reason is not None


def test_a_search_that_cannot_be_fails_alone(model):
    if isinstance(model.config, RecurrentLMConfig):
        pytest.skip("it has no blocks")
    generator = TextGenerator(model, TOKENIZER, 40, SMALL)
    asked = [*ASKED[:3], {"prompt": "the", "beams": 9, "max_tokens": 30}]
    *well, ill = generator.generate(requests(asked))
    assert isinstance(ill.error, DataError)
    assert "follows 9 texts" in str(ill.error)
    assert all(one.error is None for one in well)
    with torch.no_grad():
        embedding = model.decoder.embedding.weight
        kept = embedding[TOKENIZER.encode("x")[0]].clone()
        embedding[TOKENIZER.encode("x")[0]] = torch.nan
        head, model.head.weight = model.head.weight, torch.nn.Parameter(embedding.nan_to_num())
    generator = TextGenerator(model, TOKENIZER, 40, SMALL)
    asked = [ASKED[1], {"prompt": "x", "beams": 2}, ASKED[4]]
    first, ill, last = generator.generate(requests(asked))
    assert isinstance(ill.error, NumericsError)
    assert ill.as_json()["finish_reason"] == "error"
    assert first.error is last.error is None
    assert generator.engine.pool.used == 0
    with torch.no_grad():
        embedding[TOKENIZER.encode("x")[0]] = kept
        model.head.weight = head


def test_an_interrupted_search_is_done_again(model, monkeypatch):
    generator = TextGenerator(model, TOKENIZER, 40, SMALL)
    expected = [one.text for one in generator.generate(requests())]
    writings = [generator.start(request) for request in requests()]
    if hasattr(generator.engine, "runner"):
        reader, name = generator.engine.runner, "read"
    else:
        reader, name = model, "hidden"
    read, calls = getattr(reader, name), 0

    def interrupted(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls % 7 == 3:
            raise KeyboardInterrupt
        return read(*arguments, **named)

    monkeypatch.setattr(reader, name, interrupted)
    stops = 0
    for _ in range(2000):
        if all(writing.result.finish_reason for writing in writings):
            break
        try:
            generator.step()
        except KeyboardInterrupt:
            stops += 1
            monkeypatch.setattr(reader, name, read if stops > 2 else interrupted)
    assert stops > 1
    assert [writing.result.text for writing in writings] == expected
    if hasattr(generator.engine, "pool"):
        assert generator.engine.pool.used == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 2, "penalty_alpha": 0.5}, "exclude each other"),
        ({"n_best": 2}, "for a beam search"),
        ({"length_penalty": 2.0}, "for a beam search"),
        ({"candidates": 3}, "for a contrastive search"),
        ({"beams": 2, "n_best": 3}, "n_best 3 is more than beams 2"),
        ({"beams": 2, "stop": ["a"], "temperature": 0.5}, "goes without stop, temperature"),
        ({"penalty_alpha": 0.5, "logprobs": 2}, "goes without logprobs"),
        ({"beams": 2, "guide": {"kind": "regex", "pattern": "a"}}, "goes without guide"),
        ({"beams": 2, "on_overflow": "slide"}, "goes without on_overflow slide"),
        ({"beams": 0}, "beams"),
    ],
)
def test_settings_that_exclude_each_other(options, says):
    with pytest.raises(ConfigError, match=says):
        TextRequest.flat({"prompt": "a", **options})


def test_lines_of_a_batch_file_search_beside_others(generator):
    lines = [json.dumps(values) for values in [*ASKED, {"prompt": "a", "beams": 2, "stop": ["a"]}]]
    defaults = {"max_tokens": 12, "temperature": 0.9, "seed": 4}
    records = list(run_batch(generator, lines, defaults))
    assert [one["index"] for one in records] == list(range(7))
    assert "goes without stop" in records[-1]["error"]
    searches = [ASKED[1], ASKED[3], ASKED[4]]
    expected = generator.generate(requests(searches))
    for record, one in zip([records[1], records[3], records[4]], expected, strict=True):
        assert record == {"index": record["index"], **one.as_json()}
    assert len(records[1]["alternatives"]) == 2

"""Text generation: in pieces and whole, together and alone, and where the context ends."""

import functools
import itertools
import math
from contextlib import suppress

import pytest
import torch

from interrupting import interrupted
from peluche.errors import ConfigError, DataError, NumericsError
from peluche.generation.sampling import SamplingParameters, SamplingState, choose_tokens
from peluche.models.decoder import DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.tasks.complete import Completer
from peluche.tasks.engines import GeneratorConfig
from peluche.tasks.generate import TextGenerator, Writing
from peluche.tasks.text_requests import TextRequest
from peluche.text.streaming import TextStream
from peluche.text.tokenizer import TokenizerConfig

TEXT = "the cat sat on the mat and the dog sat on the log"
CONFIGS = [
    DecoderConfig(d_model=16, layers=2, heads=2, d_ff=32),
    RecurrentLMConfig(embedding=16, hidden=24, layers=2),
]
BYTES = TokenizerConfig(kind="bpe", byte_level=True, vocab_size=280, normalization="none")
SMALL = GeneratorConfig.parse({"block_size": 4, "engine": {"running": 3, "step_tokens": 8}})
GUIDE = {"kind": "regex", "pattern": "a"}
TINY = [
    DecoderConfig(d_model=8, layers=1, heads=1, d_ff=8),
    RecurrentLMConfig(embedding=8, hidden=8, layers=1),
]
STEP = ("interrupts", "generation/sampler", "inference/e", "inference/s", "tasks/generate")
PROMPTS = ["the ", "a", "cat sat", "été 🧸", "", "dog sat on", "the"]


def model_of(config, tokenizer, extra=0):
    torch.manual_seed(1)
    return config.build(len(tokenizer) + extra)


@pytest.fixture(scope="module")
def tokenizer():
    return BYTES.build([TEXT])


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda config: config.kind)
def generator(request, tokenizer):
    return TextGenerator(model_of(request.param, tokenizer), tokenizer, 40, SMALL)


def test_the_tokens_are_those_of_the_search_without_an_engine(generator, tokenizer, request):
    config = request.node.callspec.params["generator"]
    completer = Completer(model_of(config, tokenizer), tokenizer)
    found = generator.generate(PROMPTS, max_tokens=12, temperature=0)
    for result, expected in zip(found, completer.complete(PROMPTS, max_tokens=12), strict=True):
        assert [said.id for said in result.tokens] == expected.tokens
        assert result.text == expected.text


def test_each_request_is_as_it_is_alone(generator):
    requests = [
        TextRequest.flat(
            {"prompt": prompt, "max_tokens": 5 + number, "temperature": 0.5 * number, "seed": 7}
            | {"stream": number, "logprobs": number % 3, "repetition_penalty": 1.1}
        )
        for number, prompt in enumerate(PROMPTS)
    ]
    together = generator.generate(requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = generator.generate([request])
        assert alone.text == found.text
        assert [one.id for one in alone.tokens] == [one.id for one in found.tokens]
        assert alone.score == pytest.approx(found.score, abs=1e-5)
        assert all(len(one.top) == request.logprobs for one in found.tokens)
    assert generator.engine.idle


def test_pieces_are_the_text_and_streams_may_be_read_in_turn(generator):
    options = {"max_tokens": 20, "seed": 3}
    whole = generator.generate(PROMPTS[:3], **options)
    streams = [
        generator.stream(prompt, stream=number, **options)
        for number, prompt in enumerate(PROMPTS[:3])
    ]
    shown = ["", "", ""]
    for turn in itertools.zip_longest(*streams):
        for number, piece in enumerate(turn):
            if piece is not None:
                shown[number] += piece.text
                assert piece.result.text.startswith(shown[number])
    assert shown == [result.text for result in whole]


def test_a_stream_that_is_not_read_on_is_cancelled(generator):
    stream = generator.stream("the", max_tokens=30, seed=1)
    next(stream)
    assert not generator.engine.idle
    stream.close()
    generator.step()
    assert generator.engine.idle


def test_stop_strings_and_tokens(generator):
    (whole,) = generator.generate(["the "], max_tokens=20, seed=5, ignore_eos=True)
    assert whole.finish_reason == "length"
    assert len(whole.tokens) == 20
    for stop in (whole.text[4:7], whole.text[10:12]):
        options = {"max_tokens": 20, "seed": 5, "ignore_eos": True}
        (cut,) = generator.generate(["the "], stop=[stop], **options)
        assert cut.text == whole.text[: whole.text.index(stop)]
        assert cut.finish_reason == "stop"
        same = whole.tokens[: len(cut.tokens)]
        assert [said.id for said in cut.tokens] == [said.id for said in same]
    ender = whole.tokens[6].id
    first = [said.id for said in whole.tokens].index(ender)
    (cut,) = generator.generate(["the "], stop_tokens=[ender], **options)
    assert [said.id for said in cut.tokens] == [said.id for said in whole.tokens[:first]]
    assert (cut.finish_reason, cut.ended_by.id) == ("stop", ender)
    generator.step()
    assert generator.engine.idle


def test_a_stop_string_that_only_the_end_shows(tokenizer):
    request = TextRequest(prompt="a", stop=("\ufffd",))
    writing = Writing(request, [], TextStream(tokenizer, stop=request.stop))
    assert writing.stream.add(tokenizer.encode("é")[0]) == ""
    writing.end("length")
    assert (writing.result.text, writing.result.finish_reason) == ("", "stop")


def test_log_probabilities_are_the_models(generator, tokenizer, request):
    config = request.node.callspec.params["generator"]
    model = model_of(config, tokenizer).eval()
    (found,) = generator.generate(["the cat"], max_tokens=6, seed=2, logprobs=3, temperature=2.0)
    tokens = tokenizer.encode("the cat", bos=True)
    ids = [said.id for said in found.tokens]
    with torch.no_grad():
        logits = model.logits(model.hidden(torch.tensor([[*tokens, *ids]])))[0]
    logprobs = logits.log_softmax(-1)
    for place, said in enumerate(found.tokens):
        row = logprobs[len(tokens) + place - 1]
        assert said.logprob == pytest.approx(float(row[said.id]), abs=1e-4)
        best = row.topk(3)
        assert [one.id for one in said.top] == best.indices.tolist()
        assert [one.logprob for one in said.top] == pytest.approx(best.values.tolist(), abs=1e-4)
    as_json = found.as_json()
    assert as_json["logprobs"][0]["top"][0]["id"] == found.tokens[0].top[0].id
    assert as_json["completion"] == found.text
    mean = sum(said.logprob for said in found.tokens) / len(ids)
    if found.ended_by is None:
        assert as_json["score"] == pytest.approx(mean)


def test_a_prompt_over_the_context(generator, tokenizer):
    prompt = "xyzw" * 12
    tokens = tokenizer.encode(prompt, bos=True)
    assert len(tokens) > 40
    options = {"max_tokens": 15, "seed": 4, "ignore_eos": True}
    refused, fine = generator.generate([prompt, "a"], **options)
    assert refused.finish_reason == "error"
    assert "are over the model's 40" in str(refused.error)
    assert len(fine.tokens) == 15
    with pytest.raises(DataError, match="over the model's 40"):
        list(generator.stream(prompt, **options))
    # What is left of it is its end, after [BOS].
    (cut,) = generator.generate([prompt], on_overflow="truncate", **options)
    same = TextRequest.flat({"prompt": (2, *tokens[-24:]), **options})
    (expected,) = generator.generate([same])
    assert cut.prompt_tokens == 25
    assert [said.id for said in cut.tokens] == [said.id for said in expected.tokens]
    (nothing,) = generator.generate([prompt], on_overflow="truncate", max_tokens=40)
    assert "over the model's 40" in str(nothing.error)


def test_sliding_goes_on_for_ever(generator, tokenizer):
    options = {"max_tokens": 90, "seed": 4, "ignore_eos": True}
    (found,) = generator.generate(["the cat"], on_overflow="slide", **options)
    assert (len(found.tokens), found.finish_reason) == (90, "length")
    ids = [said.id for said in found.tokens]
    # By hand: the context is filled; then half of it goes on, with other random numbers.
    tokens = tokenizer.encode("the cat", bos=True)
    written, slides = [], 0
    while len(written) < 90:
        count = min(40 - len(tokens), 90 - len(written))
        values = {**options, "max_tokens": count, "stream": slides << 32}
        (part,) = generator.generate([TextRequest.flat({"prompt": tokens, **values})])
        written += [said.id for said in part.tokens]
        everything = [*tokens, *written[-count:]]
        tokens, slides = [2, *everything[-19:]], slides + 1
    assert ids == written
    assert slides > 2
    (late,) = generator.generate(["xyzw" * 12], on_overflow="slide", max_tokens=5)
    assert late.prompt_tokens == 20


def test_a_slide_makes_no_difference_to_penalties(generator, tokenizer, request):
    model = model_of(request.node.callspec.params["generator"], tokenizer).eval()
    penalties = {"repetition_penalty": 1.2, "presence_penalty": 0.3, "frequency_penalty": 0.2}
    options = {"temperature": 0, **penalties}
    (found,) = generator.generate(
        ["the cat"], on_overflow="slide", max_tokens=70, ignore_eos=True, **options
    )
    tokens = tokenizer.encode("the cat", bos=True)
    state, written = SamplingState(SamplingParameters.parse(options), prompt=tokens), []
    while len(written) < 70:
        if len(tokens) == 40:
            tokens = [2, *tokens[-19:]]
        with torch.no_grad():
            logits = model.logits(model.hidden(torch.tensor([tokens]))[:, -1])
        logits[:, [*tokenizer.special.never, tokenizer.eos_id]] = -torch.inf
        written.append(int(choose_tokens(logits, [state])))
        tokens.append(written[-1])
        state.advance(written[-1])
    assert [said.id for said in found.tokens] == written


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_refreshed_weights_are_those_of_all_that_follows(config, tokenizer):
    model, options = model_of(config, tokenizer), {"temperature": 0, "ignore_eos": True}
    generator = TextGenerator(model, tokenizer, 60, SMALL)
    (before,) = generator.generate(["the cat"], max_tokens=9, **options)
    request = TextRequest.flat({"prompt": "the cat", "max_tokens": 9, **options})
    writing = generator.start(request)
    while len(writing.result.tokens) < 3:
        generator.step()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-1.5)
    tokens = tuple(writing.tokens)
    generator.refresh(model)
    while not generator.engine.idle:
        generator.step()
    fresh = TextGenerator(model, tokenizer, 60, SMALL)
    (rest,) = fresh.generate([TextRequest.flat({"prompt": tokens, "max_tokens": 6, **options})])
    assert [said.id for said in writing.result.tokens[3:]] == [said.id for said in rest.tokens]
    (after,) = generator.generate(["the cat"], max_tokens=9, **options)
    assert after == fresh.generate(["the cat"], max_tokens=9, **options)[0] != before
    other = config.build(len(tokenizer) + 1)
    with pytest.raises(ConfigError, match="not the models that this generator was made for"):
        generator.refresh(other)
    with pytest.raises(ConfigError, match="not the models"):
        generator.refresh(model, draft=model)


def test_a_draft_is_refreshed_too(tokenizer):
    model, draft = model_of(CONFIGS[0], tokenizer), model_of(CONFIGS[0], tokenizer)
    options = {"max_tokens": 20, "temperature": 0, "ignore_eos": True}
    generator = TextGenerator(model, tokenizer, 60, SMALL, draft)
    with torch.no_grad():
        for one in (model, draft):
            for parameter in one.parameters():
                parameter.mul_(-1.5)
    with pytest.raises(ConfigError, match="not the models"):
        generator.refresh(model)
    generator.refresh(model, draft)
    (expected,) = TextGenerator(model, tokenizer, 60, SMALL).generate(["the cat"], **options)
    (found,) = generator.generate(["the cat"], **options)
    assert [said.id for said in found.tokens] == [said.id for said in expected.tokens]
    counters = generator.engine.counters
    assert counters.accepted == counters.drafted > 0


def test_what_cannot_be_asked(generator):
    with pytest.raises(ConfigError, match="unknown key 'temprature'"):
        generator.generate(["a"], temprature=1)
    with pytest.raises(ConfigError, match="temperature"):
        generator.generate(["a"], temperature=-1)
    with pytest.raises(ConfigError, match="guide has to see"):
        TextRequest.flat({"prompt": "a", "on_overflow": "slide", "guide": GUIDE})
    strange, guided = generator.generate(
        [
            TextRequest(prompt=(9999,), max_tokens=3),
            TextRequest.flat({"prompt": "a", "max_tokens": 3, "ignore_eos": True, "guide": GUIDE}),
        ]
    )
    assert "9999" in str(strange.error)
    assert guided.finish_reason == "error"
    empty = TextRequest(prompt=())
    assert "cannot begin" in str(generator.generate([empty])[0].error)


def test_a_request_that_fails_fails_alone(tokenizer):
    model = model_of(CONFIGS[0].model_copy(update={"tie_embeddings": False}), tokenizer)
    with torch.no_grad():
        model.decoder.embedding.weight[tokenizer.id("z")] = math.nan
    generator = TextGenerator(model, tokenizer, config=SMALL)
    fine, broken = generator.generate(["a", "zz"], max_tokens=4, ignore_eos=True)
    assert isinstance(broken.error, NumericsError)
    assert (broken.finish_reason, broken.text) == ("error", "")
    assert (fine.finish_reason, len(fine.tokens)) == ("length", 4)
    assert "are not numbers" in broken.as_json()["error"]


def test_a_step_that_was_interrupted_is_done_again(tokenizer, monkeypatch):
    generator = TextGenerator(model_of(CONFIGS[1], tokenizer), tokenizer, 40, SMALL)
    expected = generator.generate(PROMPTS[:3], max_tokens=9, seed=2)
    model, logits = generator.engine.model, generator.engine.model.logits
    calls = itertools.count()

    def interrupted(hidden):
        if next(calls) in (1, 4, 8):
            raise KeyboardInterrupt
        return logits(hidden)

    monkeypatch.setattr(model, "logits", interrupted)
    requests = [
        TextRequest.flat({"prompt": prompt, "stream": number, "max_tokens": 9, "seed": 2})
        for number, prompt in enumerate(PROMPTS[:3])
    ]
    writings = [generator.start(request) for request in requests]
    interruptions = 0
    while not generator.engine.idle:
        try:
            generator.step()
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == 3
    assert [one.result.text for one in writings] == [one.text for one in expected]


@pytest.mark.parametrize("config", TINY, ids=lambda config: config.kind)
def test_ctrl_c_at_any_line_changes_nothing_of_what_is_written(config, tokenizer):
    """Each step is interrupted a line further on, until steps have no more lines."""
    generator = TextGenerator(model_of(config, tokenizer), tokenizer, 12, SMALL)
    requests = [
        TextRequest.flat(
            {"prompt": "the ", "stream": number, "max_tokens": 30, "on_overflow": "slide"}
            | {"ignore_eos": number == 1, "temperature": 1.5, "presence_penalty": 1}
        )
        for number in range(2)
    ]
    expected = generator.generate(requests)
    line, there, interruptions = 0, True, 0
    while there:
        writings = [generator.start(request) for request in requests]
        while not generator.engine.idle:
            line += 1
            assert line < 2000, "the requests come to no end"
            try:
                there = interrupted(line, generator.step, *STEP) and there
            except KeyboardInterrupt:
                interruptions += 1
        for writing, whole in zip(writings, expected, strict=True):
            assert writing.result == whole
    assert interruptions > 100


def test_ctrl_c_leaves_no_request_behind(tokenizer):
    generator = TextGenerator(model_of(TINY[0], tokenizer), tokenizer, 40, SMALL)
    line, there = 0, True
    while there:
        line, stream = line + 1, generator.stream("a", max_tokens=9)
        # Not in the lines of `stream` itself, between which Python looks for no signals.
        with suppress(KeyboardInterrupt):
            there = interrupted(line, functools.partial(next, stream), *STEP[:-1])
        stream.close()
        generator.step()
        assert generator.engine.idle


def test_guesses_are_for_decoders(tokenizer):
    decoder, recurrent = (model_of(config, tokenizer) for config in CONFIGS)
    lookup = GeneratorConfig(lookup=True)
    for model, draft, config in [
        (recurrent, None, lookup),
        (decoder, recurrent, SMALL),
        (recurrent, decoder, SMALL),
    ]:
        with pytest.raises(ConfigError, match="not 'recurrent_lm'"):
            TextGenerator(model, tokenizer, config=config, draft=draft)
    with pytest.raises(ConfigError, match="exclude each other"):
        TextGenerator(decoder, tokenizer, config=lookup, draft=decoder)


def test_rows_of_the_embedding_that_no_token_has_are_never_said(tokenizer):
    model = model_of(CONFIGS[0], tokenizer, extra=40)
    generator = TextGenerator(model, tokenizer, config=SMALL)
    found = generator.generate(["a"] * 4, max_tokens=30, ignore_eos=True, logprobs=5)
    for result in found:
        assert all(said.id < len(tokenizer) for said in result.tokens)
    assert any(one.id >= len(tokenizer) for said in found[0].tokens for one in said.top)


def test_memory_is_as_large_as_is_of_use(tokenizer):
    model = model_of(CONFIGS[0], tokenizer)
    # 2 layers × (16 + 16) numbers of 4 bytes for each token.
    little = TextGenerator(model, tokenizer, 40, GeneratorConfig(memory=256 * 20, block_size=4))
    assert little.context == 20
    (refused,) = little.generate(["a"], max_tokens=30)
    assert "over the 20 that the memory for keys and values holds" in str(refused.error)
    assert "GeneratorConfig" in str(refused.error)
    much = TextGenerator(model, tokenizer, 40, GeneratorConfig(block_size=4))
    assert much.engine.runner.blocks == 44 * 32 // 4
    assert TextGenerator(model, tokenizer, None, SMALL).context == 5e8 // 256 // 4 * 4

"""Completion: greedy, drawn and searched; alone and together; how likely texts are."""

import math

import pytest
import torch

from peluche.data.packing import PackingConfig
from peluche.data.texts import PlainText
from peluche.errors import ConfigError, DataError
from peluche.generation.sampling import SamplingParameters
from peluche.models.decoder import DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.tasks.complete import Completer
from peluche.text.tokenizer import TokenizerConfig

TEXT = "the cat sat on the mat and the dog sat on the log"
CONFIGS = [
    DecoderConfig(d_model=16, layers=2, heads=2, d_ff=32, positions="learned", max_length=40),
    RecurrentLMConfig(embedding=16, hidden=24, layers=2),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.kind)
def completer(request):
    torch.manual_seed(1)
    tokenizer = TokenizerConfig(kind="character", normalization="none").build([TEXT])
    model = request.param.build(len(tokenizer))
    return Completer(model, tokenizer, PackingConfig(length=16, tokens=64))


@torch.no_grad()
def greedy(completer, prompt, count):
    """By hand, without any memory."""
    completer.model.eval()
    tokens = completer.tokenizer.encode(prompt, bos=True)
    start = len(tokens)
    while len(tokens) < start + count:
        logits = completer.model.logits(completer.model.hidden(torch.tensor([tokens]))[0, -1])
        logits[[0, 1, 2]] = -torch.inf
        best = int(logits.argmax())
        if best == 3:
            break
        tokens.append(best)
    return tokens[start:]


def test_greedy_is_the_likeliest_token_each_time_alone_and_together(completer):
    prompts = ["the ", "a", "", "cat sat", "dog ", "the"]
    together = completer.complete(prompts, max_tokens=12)
    for prompt, found in zip(prompts, together, strict=True):
        assert found.tokens == greedy(completer, prompt, 12)
        alone = completer.complete([prompt], max_tokens=12)[0]
        assert alone.tokens == found.tokens
        assert alone.score == pytest.approx(found.score, abs=1e-5)
        assert found.text == completer.tokenizer.decode(found.tokens)
        assert found.as_json() == {
            "prompt": prompt,
            "completion": found.text,
            "score": found.score,
        }


def test_draws_follow_from_the_seed(completer):
    options = {"max_tokens": 15, "n_best": 3}
    one, again, other = (
        completer.complete(["the "], sampling=SamplingParameters(seed=seed), **options)
        for seed in (4, 4, 5)
    )
    assert [found.tokens for found in one] == [found.tokens for found in again]
    assert [found.tokens for found in one] != [found.tokens for found in other]
    assert [found.score for found in one] == sorted((found.score for found in one), reverse=True)


def test_penalties_know_what_was_read_and_said(completer):
    def said(**options):
        parameters = SamplingParameters(temperature=0, **options)
        [found] = completer.complete(["the cat "], sampling=parameters, max_tokens=20)
        return found.tokens

    [greedy] = completer.complete(["the cat "], max_tokens=20)
    assert said() == greedy.tokens
    assert len(set(greedy.tokens)) < len(greedy.tokens)
    often = said(presence_penalty=2, frequency_penalty=2, logit_bias={3: -100})
    assert len(set(often)) > len(set(greedy.tokens))
    first = completer.tokenizer.encode("the cat ")
    assert not set(said(repetition_penalty=100)[:3]) & set(first)


def test_contrastive_search_is_an_option(completer):
    [plain] = completer.complete(["the "], max_tokens=12)
    [same] = completer.complete(["the "], max_tokens=12, penalty_alpha=0.0)
    assert same.tokens == plain.tokens
    assert same.score == pytest.approx(plain.score, abs=1e-5)
    several = completer.complete(["the ", "cat", "a "], max_tokens=12, penalty_alpha=0.9)
    alone = completer.complete(["cat"], max_tokens=12, penalty_alpha=0.9)
    assert several[1] == alone[0]
    for options in ({"beams": 3}, {"n_best": 2}, {"sampling": SamplingParameters()}):
        with pytest.raises(ConfigError, match="contrastive search excludes"):
            completer.complete(["a"], penalty_alpha=0.5, **options)


def test_a_wide_beam_finds_what_is_likelier(completer):
    (plain,) = completer.complete(["the "], max_tokens=6)
    beam = completer.complete(["the "], max_tokens=6, beams=8, n_best=2)
    assert len(beam) == 2
    assert beam[0].score >= plain.score - 1e-5


def test_dropout_is_off_and_comes_back(completer):
    completer.model.train()
    completer.complete(["the "], max_tokens=2)
    completer.measure([PlainText(TEXT, "here")])
    assert completer.model.training


def test_how_likely_texts_are(completer):
    texts = [TEXT, "a", "log on the dog"]
    examples = [PlainText(text, "here") for text in texts]
    evaluation = completer.measure(examples)
    bits, perplexity, nll = evaluation.scores(bootstrap=100)
    total, count = 0.0, 0
    with torch.no_grad():
        completer.model.eval()
        tokens = [completer.tokenizer.encode(text, bos=True, eos=True) for text in texts]
        packed = [token for one in tokens for token in one]
        document = [number for number, one in enumerate(tokens) for _ in one]
        for start in range(0, len(packed), 16):
            row = torch.tensor([packed[start : start + 16]])
            ids = torch.tensor([document[start : start + 16]])
            logits = completer.model.logits(completer.model.hidden(row, document_ids=ids))
            losses = -logits[0].log_softmax(-1)
            for place in range(row.shape[1]):
                after = start + place + 1
                if after < len(packed) and packed[after] != 2:
                    total += float(losses[place, packed[after]])
                    count += 1
    assert nll.score == pytest.approx(total / count, rel=1e-4)
    assert perplexity.score == pytest.approx(math.exp(total / count), rel=1e-4)
    size = sum(len(text.encode()) for text in texts)
    assert bits.score == pytest.approx(total / size / math.log(2), rel=1e-4)
    low, high = bits.ci
    assert low <= bits.score <= high
    assert [measurement.statistics.shape[0] for measurement in evaluation.measurements] == [3, 3, 3]


def test_one_text_alone_has_an_interval_over_rows(completer):
    evaluation = completer.measure([PlainText(TEXT, "here")])
    for measurement in evaluation.measurements:
        assert measurement.statistics.shape[0] == -(-(len(TEXT) + 1) // 16)
    bits, *_ = evaluation.scores()
    assert bits.ci[0] < bits.score < bits.ci[1]


def test_changed_weights_show_after_refresh(completer):
    options = {"max_tokens": 8, "temperature": 0}
    completer.refresh()  # of nothing that runs yet
    before = completer.generate(["the ca"], **options)
    completer.model.load_state_dict(
        {name: -2 * tensor for name, tensor in completer.model.state_dict().items()}
    )
    completer.refresh()
    (after,) = completer.generate(["the ca"], **options)
    assert [after] != before
    assert [said.id for said in after.tokens] == greedy(completer, "the ca", 8)


def test_what_cannot_be_asked(completer):
    with pytest.raises(ConfigError, match="exclude each other"):
        completer.complete(["a"], beams=3, sampling=SamplingParameters())
    if completer.model.longest is not None:
        with pytest.raises(DataError, match=r"a prompt of 37 tokens and 10 more .* 40"):
            completer.complete(["a" * 36], max_tokens=10)
    with pytest.raises(DataError, match="2 names"):
        completer.source(["a", "b"])
    with pytest.raises(ConfigError, match="no split"):
        completer.source(["a.txt"], split="test")


def test_files_are_read_as_the_runs_own(completer):
    completer.settings = type(completer.settings)(train={"kind": "jsonl", "text": "body"})
    assert completer.source(["x.jsonl"]).text == "body"
    assert completer.source(["x.jsonl.gz"]).kind == "jsonl"
    assert completer.source(["x.txt"]).kind == "document"
    assert completer.source(["x.csv"]).kind == "csv"
    completer.settings = type(completer.settings)(train={"kind": "lines"})
    assert completer.source(["x.txt"]).kind == "lines"

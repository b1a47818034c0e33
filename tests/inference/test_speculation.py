"""Guessed tokens make fewer steps, never other texts."""

from __future__ import annotations

import pytest
import torch
from test_engine import VOCABULARY, alone, engine_of, model_with, request
from toy_engines import finish

from peluche.errors import ConfigError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Sampler
from peluche.inference.draft_model import DraftModel
from peluche.inference.engine import Engine, EngineConfig
from peluche.inference.runner import fastest_runner
from peluche.inference.speculation import DraftLengths, PromptLookup, Wish
from peluche.text.tokenizer import OWN


def guess(tokens: list[int], most: int, drafter: PromptLookup | None = None) -> list[int]:
    return (drafter or PromptLookup(3, 2)).draft([Wish(0, tokens, most)])[0]


def test_what_followed_last_time_is_guessed():
    assert guess([1, 2, 3, 4, 9, 1, 2, 3], 3) == [4, 9, 1]
    assert guess([1, 2, 3, 4, 5, 2, 3, 6, 2, 3], 1) == [6], "the last time counts"
    assert guess([1, 2, 3, 7, 9, 2, 3, 6, 1, 2, 3], 1) == [7], "a longer match counts more"
    assert guess([1, 2, 3, 4], 5) == []
    assert guess([3], 5) == []


def test_a_repetition_is_repeated():
    assert guess([1, 2, 1, 2, 1], 5) == [2, 1, 2, 1, 2]
    assert guess([7, 7, 7, 7], 3) == [7, 7, 7]


def test_lookup_remembers_what_a_request_has_read_until_it_is_done():
    drafter, tokens = PromptLookup(3, 2), [1, 2, 3, 4, 9, 8, 1, 2]
    for end in range(1, len(tokens) + 1):
        assert guess(tokens[:end], 4, drafter) == guess(tokens[:end], 4)
    drafter.forget(0)
    assert drafter.known == {}


def test_more_is_guessed_while_guesses_are_right():
    lengths = DraftLengths(16)
    assert lengths.of(0) == 4
    for expected in (8, 16, 16):
        lengths.learn(0, lengths.of(0), lengths.of(0))
        assert lengths.of(0) == expected
    lengths.learn(0, 16, 2)
    assert lengths.of(0) == 3
    lengths.learn(0, 3, 0)
    assert lengths.of(0) == 1
    assert lengths.of(1) == 4


def test_many_requests_share_what_is_guessed():
    asked: list[list[int]] = []

    class Watching(PromptLookup):
        def draft(self, wishes):
            asked.append([wish.most for wish in wishes])
            return super().draft(wishes)

    engine = engine_of(model_with(), 40, Watching(2, 1), running=12, drafts=8)
    for number in range(9):
        engine.add(request([5] * (2 + number), 3 + 3 * number, temperature=0))
    finish(engine)
    assert max(len(each) for each in asked) > 2
    assert all(sum(each) <= 8 for each in asked)
    assert any(each and max(each) > 2 for each in asked)


def drafted_by(model, target) -> DraftModel:
    return DraftModel(fastest_runner(model, 40, 4), OWN, target.vocabulary, running=4)


@pytest.mark.parametrize("guesser", ["itself", "another"])
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.8, "top_p": 0.9}])
def test_a_draft_model_changes_no_text(guesser, sampling):
    target = model_with(kv_heads=2)
    draft = target if guesser == "itself" else model_with(layers=1, d_model=8, heads=2)
    engine = engine_of(target, 40, drafted_by(draft, target), running=4)
    asked = [request([5 + n, 6, 7], 15, seed=n, **sampling) for n in range(4)]
    for one in asked:
        engine.add(one)
    found, done = finish(engine), engine.counters
    assert list(found.values()) == [alone(target, one) for one in asked]
    assert engine.drafter.engine.pool.used == 0
    if guesser == "itself" and sampling["temperature"] == 0:
        assert done.accepted == done.drafted > 0
        assert done.steps < max(len(given) for given in found.values()) / 2
    else:
        assert 0 <= done.accepted < done.drafted


def test_a_draft_model_with_a_short_memory_guesses_no_further():
    target = model_with()
    draft = DraftModel(fastest_runner(target, 3, 4), OWN, VOCABULARY)
    first, second = draft.draft([Wish(0, [5] * 10, 9), Wish(1, [5] * 13, 2)])
    assert len(first) <= 3
    assert second == []


def test_a_draft_model_of_another_vocabulary_is_refused():
    other = fastest_runner(model_with(), 4, 4)
    with pytest.raises(ConfigError, match="same tokenizer"):
        DraftModel(other, OWN, VOCABULARY + 1)


class Markov:
    """A runner without memory: the next token depends on the last one only."""

    block_size, blocks, longest, window = 8, 400, None, None

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits, self.vocabulary = logits, len(logits)

    def run(self, chunks) -> torch.Tensor:
        wanted = [chunk.tokens[len(chunk.tokens) - chunk.wanted :] for chunk in chunks]
        return self.logits[[token for tokens in wanted for token in tokens]]

    def copy(self, source: int, target: int) -> None:
        pass


def test_texts_with_guesses_are_distributed_as_the_model_says():
    """Pairs of tokens against their probabilities, by a χ² test at one in a million."""
    generator = torch.Generator().manual_seed(0)
    tokens, texts, count = 5, 3000, 3
    logits = 1.5 * torch.randn(tokens, tokens, generator=generator)
    runner = Markov(logits)
    draft = DraftModel(
        Markov(logits + torch.randn(tokens, tokens, generator=generator)), OWN_LESS, tokens
    )
    sampler = Sampler(OWN_LESS, tokens)
    engine = Engine(
        runner, sampler, EngineConfig(running=200, prefix_cache=False, drafts=800), draft
    )
    for stream in range(texts):
        engine.add(GenerationRequest(tokens=(0,), max_tokens=count, stream=stream))
    seen = torch.zeros(tokens, tokens)
    for given in finish(engine).values():
        seen[given[1], given[2]] += 1
    steps = logits.softmax(-1)
    expected = texts * (steps[0] @ steps)[:, None] * steps
    statistic = float(((seen - expected) ** 2 / expected).sum())
    # 24 degrees of freedom: P(χ² > 81) < 1e-6 (Wilson and Hilferty 1931 give 4.9 deviations).
    assert statistic < 81
    assert 0.1 < engine.counters.accepted / engine.counters.drafted < 0.95


OWN_LESS = OWN._replace(pad=-1, unk=-1, bos=-1, eos=-1, never=())

"""Contrastive search against its formula, with the whole text read anew for every candidate."""

from __future__ import annotations

import pytest
import torch
from toy_decoders import TableDecoder

from peluche.errors import ConfigError
from peluche.generation.batching import generate
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import LanguageDecoder
from peluche.generation.search import Hypothesis, Request
from peluche.models.decoder import DecoderConfig
from peluche.models.language_model import LanguageModel
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.text.tokenizer import OWN

EOS = OWN.eos
MODELS = {
    "decoder": DecoderConfig(d_model=16, layers=2, heads=2, d_ff=24, max_length=64),
    "recurrent": RecurrentLMConfig(embedding=12, hidden=16),
}


def tiny(kind: str, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    model = MODELS[kind].build(30).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def by_formula(model: LanguageModel, request: Request, config: DecodingConfig) -> Hypothesis:
    """Su et al. 2022, eq. 5, in plain Python."""
    text, written, total = list(request.source), [], 0.0

    def read(tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = model.hidden(torch.tensor([tokens]))[0]
        return hidden, model.logits(hidden[-1]).log_softmax(-1)

    while True:
        hidden, log_probabilities = read(text + written)
        probabilities = log_probabilities.exp()
        probabilities[list(OWN.never)] = 0.0
        worths = {}
        for token in probabilities.topk(config.candidates).indices.tolist():
            new = read([*text, *written, token])[0][-1]
            likeness = max(float(torch.cosine_similarity(new, old, 0)) for old in hidden)
            alpha = config.penalty_alpha
            worths[token] = (1 - alpha) * float(probabilities[token]) - alpha * likeness
        token = EOS if len(written) == request.limit - 1 else max(worths, key=worths.__getitem__)
        total += float(log_probabilities[token])
        if token == EOS:
            return Hypothesis(written, total / float(config.normaliser(len(written) + 1)))
        written.append(token)


@torch.no_grad()
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("alpha", "candidates"), [(0.6, 4), (0.3, 7), (1.0, 2)])
def test_texts_are_those_of_the_formula(kind, alpha, candidates):
    model = tiny(kind)
    config = DecodingConfig(kind="contrastive", penalty_alpha=alpha, candidates=candidates)
    generator = torch.Generator().manual_seed(1)
    requests = [
        Request([2, *torch.randint(4, 30, (5,), generator=generator).tolist()], limit)
        for limit in (1, 5, 9, 12, 12)
    ]
    found = generate(LanguageDecoder(model), requests, config)
    for [ours], request in zip(found, requests, strict=True):
        expected = by_formula(model, request, config)
        assert ours.tokens == expected.tokens
        assert ours.score == pytest.approx(expected.score, abs=1e-4)
    assert len({tuple(ours.tokens) for [ours] in found}) > 2


def test_without_a_penalty_it_is_greedy_search():
    model = tiny("decoder", seed=3)
    requests = [Request([2, word], 8) for word in range(4, 12)]
    plain = DecodingConfig(kind="contrastive", penalty_alpha=0.0)
    found = generate(LanguageDecoder(model), requests, plain)
    greedy = generate(LanguageDecoder(model), requests, DecodingConfig(kind="greedy"))
    assert [ours.tokens for [ours] in found] == [best.tokens for [best] in greedy]
    assert [ours.score for [ours] in found] == pytest.approx([best.score for [best] in greedy])


def test_a_batch_is_each_text_alone():
    model, config = tiny("decoder"), DecodingConfig(kind="contrastive", candidates=5)
    requests = [Request([2, word, 9], 4 + word) for word in range(4, 14)]
    together = generate(LanguageDecoder(model), requests, config)
    for request, [ours] in zip(requests, together, strict=True):
        [[alone]] = generate(LanguageDecoder(model), [request], config)
        assert ours.tokens == alone.tokens


def test_what_cannot_be_searched_so_says_so():
    config = DecodingConfig(kind="contrastive")
    with pytest.raises(ConfigError, match="goes on with texts"):
        generate(TableDecoder(0), [Request([4, EOS], 5)], config)
    with pytest.raises(ConfigError, match="goes on with texts"):
        generate(LanguageDecoder(tiny("decoder")), [Request([2], 5, prefix=(4,))], config)
    with pytest.raises(ConfigError, match="contrastive search has one result"):
        DecodingConfig.parse({"kind": "contrastive", "n_best": 2})

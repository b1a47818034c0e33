"""Searches over the engine's memory find what they find over copies, in so many blocks."""

from contextlib import suppress

import pytest
import torch

from peluche.errors import DataError
from peluche.generation.batching import generate
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import LanguageDecoder
from peluche.generation.sampler import Sampler
from peluche.generation.search import Request
from peluche.inference.blocks import BlockPool
from peluche.inference.engine import Engine
from peluche.inference.native.build import native_library
from peluche.inference.native.runner import NativeRunner
from peluche.inference.runner import Chunk, fastest_runner
from peluche.inference.searching import PagedDecoder, blocks_needed
from peluche.models.decoder import DecoderConfig
from peluche.text.tokenizer import OWN

VOCABULARY, SIZE = 40, 4
MODELS = {
    "packed": {"kv_heads": 2, "norm": "rmsnorm", "activation": "swiglu", "bias": False},
    "windows": {"window": {"size": 5}, "positions": "alibi"},
    "latent": {"latent": {"kv_rank": 8, "rope_width": 4}, "bias": False, "layers": 1},
}
SEARCHES = {
    "beams": DecodingConfig(beams=4, n_best=4),
    "long beams": DecodingConfig(beams=3, n_best=2, length_penalty=2.0),
    "contrastive": DecodingConfig(kind="contrastive", candidates=5),
}
# Over a piece, at the end of a block, within one, one token.
PROMPTS = [[5, 6, 7, 8, 9, 10] * 12, [5, 6, 7, 8], [9, 8, 7, 6, 5, 6, 7], [11]]


def model_with(**settings):
    """In double precision, so that rounding makes no two candidates change places."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "layers": 2, "heads": 4, "d_ff": 24, "max_length": 120}
    model = DecoderConfig.parse(sizes | settings).build(VOCABULARY).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


class Watched(BlockPool):
    """Notes the most blocks that were used at a time."""

    most = 0

    def take(self):
        block = super().take()
        self.most = max(self.most, self.used)
        return block


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("kind", MODELS)
def test_what_is_found_is_what_copies_find(kind, search):
    model, config = model_with(**MODELS[kind]), SEARCHES[search]
    runner = fastest_runner(model, 120, SIZE)
    for prompt in PROMPTS:
        asked = [Request(prompt, 14)]
        [expected] = generate(LanguageDecoder(model), asked, config)
        pool = Watched(runner.blocks, SIZE)
        decoder = PagedDecoder(runner, pool, OWN)
        [found] = generate(decoder, asked, config)
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected])
        needed = blocks_needed(len(prompt), len(prompt) + 13, config.rows, SIZE)
        assert -(-len(prompt) // SIZE) <= pool.most <= needed
        decoder.close()
        assert pool.used == 0
    # What full blocks of the prompt take is taken once.
    assert blocks_needed(73, 80, 4, SIZE) == 18 + 4 * 2 + 1


def test_several_texts_are_searched_together():
    model, config = model_with(), SEARCHES["beams"]
    asked = [Request([5, 6, token, 8, 9], 3 + token) for token in range(5, 12)]
    decoder = PagedDecoder(fastest_runner(model, 200, SIZE), BlockPool(200, SIZE), OWN)
    found = generate(decoder, asked, config)
    for one, request in zip(found, asked, strict=True):
        [[alone, *_]] = generate(LanguageDecoder(model), [request], config)
        assert one[0].tokens == alone.tokens


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_operator_gives_the_states_that_logits_are_made_of(weights):
    if native_library() is None:
        pytest.skip("there is no C++ compiler")
    model = model_with(**MODELS["packed"], head_width=16, d_model=20).float()
    runner = NativeRunner(model, 4, 16, weights)
    chunks = [Chunk([5, 6, 7, 8], 0, [0], 3), Chunk([9, 8], 0, [1], 1)]
    read = runner.read(chunks)
    assert torch.equal(read.logits, runner.run(chunks))
    expected = torch.cat([model.hidden(torch.tensor([chunk.tokens]))[0] for chunk in chunks])
    error = (read.hidden - expected[[1, 2, 3, 5]]).norm() / expected.norm()
    assert error < (1e-5 if weights == "float32" else 0.1)


def test_what_does_not_fit_is_refused():
    model = model_with()
    engine = Engine(fastest_runner(model, 10, SIZE), Sampler(OWN, VOCABULARY))
    with (
        pytest.raises(DataError, match=r"follows 5 texts of up to 12 tokens needs 12 blocks"),
        engine.searching(5, 12, 5),
    ):
        pass
    with engine.searching(5, 12, 4):
        pass


def test_a_search_that_fails_gives_its_blocks_back():
    engine = Engine(fastest_runner(model_with(), 20, SIZE), Sampler(OWN, VOCABULARY))
    with suppress(KeyboardInterrupt), engine.searching(5, 12, 3) as decoder:
        texts = decoder.texts(1, 12)
        texts.read(torch.tensor([[5, 6, 7, 8, 9]]))
        texts.select(torch.tensor([0, 0, 0]))
        texts.read(torch.tensor([[5], [6], [7]]))
        # The prompt's full block once, and each row's own.
        assert engine.pool.used == 1 + 3
        raise KeyboardInterrupt
    assert engine.pool.used == 0

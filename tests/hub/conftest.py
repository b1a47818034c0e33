from typing import NamedTuple

import pytest
import torch

from peluche.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

TEXTS = ["A cute teddy bear is reading.", "Un ours en peluche mignon lit.", "[EOS] is not here."]


class Tiny(NamedTuple):
    """A small model with random weights, sources for it, and its own results."""

    config: EncoderDecoderConfig
    model: EncoderDecoder
    tokenizer: Tokenizer

    source = torch.tensor([[5, 6, 7, 8, 9, 3], [9, 10, 3, 0, 0, 0], [3, 0, 0, 0, 0, 0]])
    target = torch.cat([torch.full((3, 1), 2), 4 + torch.arange(72).view(3, 24) * 7 % 50], 1)

    @property
    def valid(self):
        return self.source != 0

    @property
    def source_rows(self):
        return [row[row != 0].tolist() for row in self.source]

    def logits(self, model=None):
        model = model or self.model
        with torch.no_grad():
            memory = model.encode(self.source, self.valid)
            return model.logits(model.hidden(self.target, condition=memory))


@pytest.fixture(scope="session")
def tokenizer():
    return TokenizerConfig(kind="bpe", vocab_size=70).build(TEXTS)


@pytest.fixture
def tiny(tokenizer):
    """Builds a `Tiny` from model settings. Weights are spread so that likely tokens stand out."""

    def build(seed=0, **settings):
        sizes = {"d_model": 16, "heads": 4, "d_ff": 24, "layers": 2, "decoder_layers": 3}
        config = EncoderDecoderConfig.parse(sizes | settings)
        torch.manual_seed(seed)
        model = config.build(len(tokenizer)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        return Tiny(config, model, tokenizer)

    return build


@pytest.fixture(scope="session")
def trained(tokenizer):
    """Builds a `Tiny` that half learnt to add one to each token, so that its sentences end."""
    built = {}

    def build(norm_placement):
        if norm_placement in built:
            return built[norm_placement]
        config = EncoderDecoderConfig(
            d_model=32, heads=4, d_ff=32, layers=1, norm_placement=norm_placement, dropout=0.0
        )
        torch.manual_seed(5)
        model = config.build(len(tokenizer))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(120):
            words = torch.randint(4, len(tokenizer) - 1, (32, 4))
            words = words[:, : int(torch.randint(1, 5, ()))]
            edge = torch.full((32, 1), 3)
            source, target = torch.cat([words, edge], 1), torch.cat([words + 1, edge], 1)
            read = torch.cat([edge - 1, words + 1], 1)
            memory = model.encode(source, torch.ones_like(source, dtype=torch.bool))
            hidden = model.hidden(read, condition=memory)
            model.token_loss(hidden.flatten(0, 1), target.flatten()).loss.div(128).backward()
            optimizer.step()
            optimizer.zero_grad()
        built[norm_placement] = Tiny(config, model.eval(), tokenizer)
        return built[norm_placement]

    return build

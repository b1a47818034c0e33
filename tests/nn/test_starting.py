"""What is loaded need not be drawn first."""

import torch

from peluche.models.decoder import DecoderConfig
from peluche.nn.starting import undrawn

SMALL = DecoderConfig(d_model=16, layers=1, heads=2, d_ff=32, dropout=0.0)


def test_a_loaded_model_is_the_same():
    torch.manual_seed(0)
    drawn = SMALL.build(20)
    with undrawn():
        built = SMALL.build(20)
    built.load_state_dict(drawn.state_dict())
    tokens = torch.arange(8)[None]
    assert torch.equal(built.hidden(tokens), drawn.hidden(tokens))
    assert built.head.weight is built.decoder.embedding.weight


def test_nothing_is_drawn_inside_and_all_is_afterwards():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with undrawn():
        SMALL.build(20)
    assert torch.equal(torch.get_rng_state(), before)
    assert float(SMALL.build(20).head.weight.detach().std()) > 0.01

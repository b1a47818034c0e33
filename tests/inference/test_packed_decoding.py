"""Packed decoding equals the model's own: every kind of part, greedy, beam and forgetful memory."""

from __future__ import annotations

import pytest
import torch

from peluche.generation.decoder import ModelDecoder
from peluche.inference import memory
from peluche.inference.decoding import PackedDecoder
from peluche.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig

VOCABULARY = 50
MODELS = [
    {"positions": "sinusoidal"},
    {"positions": "learned", "norm_placement": "post", "activation": "gelu"},
    {"positions": "rope", "kv_heads": 2, "norm": "rmsnorm", "activation": "swiglu"},
    {"positions": "alibi", "norm_placement": "sandwich", "bias": False, "activation": "relu2"},
    {"positions": "relative", "kv_heads": 2, "tie_embeddings": "none", "activation": "geglu"},
    {"positions": "none", "kv_heads": 1, "decoder_layers": 1, "tie_embeddings": "decoder"},
]


def model_with(**settings: object) -> EncoderDecoder:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "layers": 2, "heads": 4, "d_ff": 24, "max_length": 64}
    model = EncoderDecoderConfig.parse(sizes | settings).build(VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.mark.parametrize("settings", MODELS, ids=lambda settings: settings["positions"])
@pytest.mark.parametrize("beams", [1, 3])
def test_logits_equal_the_models(settings, beams, monkeypatch):
    monkeypatch.setattr(memory, "FIRST_ROOM", 16)
    model = model_with(**settings)
    generator = torch.Generator().manual_seed(1)

    def whole(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=generator)

    source = 4 + whole(VOCABULARY - 4, 4, 7)
    valid = torch.arange(7) < torch.tensor([7, 7, 4, 2])[:, None]
    with torch.inference_mode():
        plain = ModelDecoder(model).start(source, valid, beams, 20)
        packed = PackedDecoder(model).start(source, valid, beams, 20)
        tokens = torch.full((4 * beams,), 2)
        for step in range(15):
            expected, found = plain.step(tokens), packed.step(tokens)
            torch.testing.assert_close(found[:, :VOCABULARY], expected, rtol=0, atol=2e-5)
            assert bool((found[:, VOCABULARY:] == -torch.inf).all())
            parents = whole(beams, len(tokens) // beams, beams)
            for decoding in (plain, packed):
                decoding.select(parents)
            if step == 6:
                kept = torch.tensor([0, 1, 3])
                for decoding in (plain, packed):
                    decoding.keep(kept)
                parents = parents[kept]
            tokens = whole(VOCABULARY, parents.numel())


def test_the_memory_forgets_what_no_beam_descends_from():
    held = memory.BeamMemory(1, 4, like=torch.zeros(1, 2, 1, 8))
    for position in range(200):
        held.open(position)
        held.select(torch.zeros(2, 4, dtype=torch.int64))
    # 200 remembered tokens and at most one room's worth of others, not 4 · 200.
    assert held.used <= 2 * 200
    assert int(held.past[0, 0, : held.used].sum()) == 200


def test_refresh_shows_what_the_model_has_become():
    model = model_with()
    source, valid = torch.tensor([[5, 6, 3]]), torch.ones(1, 3, dtype=torch.bool)
    packed, token = PackedDecoder(model), torch.tensor([2])

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            return packed.start(source, valid, 1, 4).step(token)

    before = logits()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert torch.equal(logits(), before)
    packed.refresh(model)
    with torch.inference_mode():
        expected = ModelDecoder(model).start(source, valid, 1, 4).step(token)
    assert not torch.allclose(before[:, :VOCABULARY], expected, atol=1e-2)
    torch.testing.assert_close(logits()[:, :VOCABULARY], expected, rtol=0, atol=2e-5)


def test_packing_leaves_the_models_parameters_alone():
    model = model_with(activation="swiglu")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    packed = PackedDecoder(model)
    with torch.inference_mode():
        packed.start(torch.tensor([[5, 3]]), torch.ones(1, 2, dtype=torch.bool), 2, 4).step(
            torch.tensor([2, 2])
        )
    assert list(before) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])

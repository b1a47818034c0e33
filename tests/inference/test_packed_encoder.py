"""An encoder with packed weights and no padding gives the plain encoder's vectors."""

import pytest
import torch

from peluche.inference import packed_encoder
from peluche.inference.native.build import native_library
from peluche.inference.native.product import NativeMatrix
from peluche.inference.packed import Matrix
from peluche.inference.packed_encoder import PackedEncoder, fastest_pack, packs
from peluche.models.encoder import EncoderConfig

TEXTS = [[1, 7, 9, 2], [1, 2], [1, 5, 6, 7, 8, 9, 10, 2], [1, 4, 2]]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_placement": "post", "norm_input": True, "positions": "learned", "segments": 2},
        {"positions": "alibi", "norm": "rmsnorm"},
        {"positions": "relative"},
        {"positions": "rope", "kv_heads": 2, "activation": "swiglu"},
        {"positions": "sinusoidal", "norm_placement": "sandwich", "qkv_bias": False},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())) or "plain",
)
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], [TEXTS[0], TEXTS[0]]])
@pytest.mark.parametrize("least", [0, 10**9])
def test_packed_vectors_are_the_plain_ones(changes, texts, least, monkeypatch):
    monkeypatch.setattr(packed_encoder, "LEAST_PARAMETERS", least)
    config = EncoderConfig(d_model=32, layers=2, heads=4, d_ff=48, **changes)
    torch.manual_seed(0)
    model = config.build(20).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    assert packs(model)
    found = PackedEncoder(model).hidden(texts)
    for text, vectors in zip(texts, found, strict=True):
        with torch.no_grad():
            expected = model.hidden(torch.tensor([text]))[0]
        torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


def test_small_encoders_and_those_without_a_compiler_are_packed_by_pytorch(monkeypatch):
    model = EncoderConfig(d_model=32, layers=1, heads=4, d_ff=48).build(20)
    assert fastest_pack(model) == Matrix.of
    monkeypatch.setattr(packed_encoder, "LEAST_PARAMETERS", 0)
    if native_library() is not None:
        assert isinstance(fastest_pack(model)(torch.ones(3, 2), None), NativeMatrix)
    monkeypatch.setenv("PELUCHE_NATIVE", "0")
    assert fastest_pack(model) == Matrix.of


def test_windows_are_left_to_the_plain_encoder():
    config = EncoderConfig(d_model=32, layers=1, heads=4, d_ff=48, window={"size": 3})
    assert not packs(config.build(20))

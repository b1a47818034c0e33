"""Latent attention against that of DeepSeek-V2 and DeepSeek-V3 in `transformers`, same weights."""

import pytest
import torch
from transformers import DeepseekV2Config, DeepseekV3Config
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

from peluche.nn.latent_attention import LatentAttention, LatentConfig
from peluche.nn.masks import causal, prepare
from peluche.nn.norms import build_norm
from peluche.nn.rotary import RopeConfig
from peluche.nn.state import StaticState

WIDTH, HEADS, STILL, TURNED, RANK, QUERY_RANK = 24, 3, 8, 6, 10, 14
LENGTH = 11
SETTINGS = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "qk_nope_head_dim": STILL,
    "v_head_dim": STILL,
    "qk_rope_head_dim": TURNED,
    "kv_lora_rank": RANK,
    "attention_bias": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    "attn_implementation": "eager",
}
CASES = {
    "v2": (DeepseekV2Config, v2, {}),
    "v3": (DeepseekV3Config, v3, {"rope_interleave": True}),
    "v3, halves": (DeepseekV3Config, v3, {"rope_interleave": False}),
}


@pytest.fixture(params=[None, QUERY_RANK], ids=["query", "small query"])
def query_rank(request):
    return request.param


@pytest.fixture(params=CASES)
def theirs(request, query_rank):
    """Their layer, and what it makes of hidden states at places."""
    kind, module, more = CASES[request.param]
    config = kind(**SETTINGS, q_lora_rank=query_rank, **more)
    torch.manual_seed(0)
    name = kind.__name__.removesuffix("Config")
    layer = getattr(module, f"{name}Attention")(config, 0).eval()
    for parameter in layer.parameters():  # the norms too, which start at 1
        torch.nn.init.normal_(parameter, std=0.5)
    turns = getattr(module, f"{name}RotaryEmbedding")(config)

    def run(hidden, places):
        unseen = torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
        turned = turns(hidden, places.expand(len(hidden), -1))
        return layer(hidden, position_embeddings=turned, attention_mask=unseen)[0]

    return layer, run, more.get("rope_interleave", True)


def split_turned(rows, pairs_lie_together):
    """Features of a head that turn: theirs lie as pairs, ours as two halves."""
    if not pairs_lie_together:
        return rows
    return torch.cat([rows[..., 0::2, :], rows[..., 1::2, :]], -2)


def ours_of(layer, query_rank, pairs_lie_together):
    config = LatentConfig(kv_rank=RANK, query_rank=query_rank, rope_width=TURNED)
    ours = LatentAttention(
        config, WIDTH, HEADS, STILL,
        make_norm=lambda width: build_norm("rmsnorm", width, epsilon=1e-6),
        head_positions=RopeConfig(base=500.0).build(),
    ).eval()  # fmt: skip
    last = layer.q_proj if query_rank is None else layer.q_b_proj
    query = last.weight.unflatten(0, (HEADS, STILL + TURNED))
    turned = split_turned(query[:, STILL:], pairs_lie_together)
    latent, key = layer.kv_a_proj_with_mqa.weight.split([RANK, TURNED])
    both = layer.kv_b_proj.weight.unflatten(0, (HEADS, 2 * STILL))
    state = {
        "query.weight": torch.cat([query[:, :STILL], turned], 1).flatten(0, 1),
        "latent.weight": latent,
        "latent_norm.weight": layer.kv_a_layernorm.weight,
        "turned_key.weight": split_turned(key, pairs_lie_together),
        "key.weight": both[:, :STILL].flatten(0, 1),
        "value.weight": both[:, STILL:].flatten(0, 1),
        "out.weight": layer.o_proj.weight,
    }
    if query_rank is not None:
        state |= {
            "small_query.0.weight": layer.q_a_proj.weight,
            "small_query.1.weight": layer.q_a_layernorm.weight,
        }
    ours.load_state_dict(state)
    return ours


@torch.no_grad()
def test_it_is_that_of_deepseek_with_a_cache_and_without(theirs, query_rank):
    layer, run, pairs_lie_together = theirs
    ours = ours_of(layer, query_rank, pairs_lie_together)
    hidden, places = torch.randn(2, LENGTH, WIDTH), torch.arange(LENGTH)
    expected = run(hidden, places)
    mask = prepare(causal(), 2, places, places)
    found = ours(hidden, positions=places, mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for cuts in ([LENGTH], [4, LENGTH], range(1, LENGTH + 1)):
        state = StaticState(1, 2, 1, RANK + TURNED, LENGTH, value_width=0)
        start, pieces = 0, []
        for end in cuts:
            piece = hidden[:, start:end]
            pieces.append(ours(piece, positions=places[start:end], state=state))
            start = end
        torch.testing.assert_close(torch.cat(pieces, 1), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_gradients_are_those_of_deepseek(theirs, query_rank):
    layer, run, pairs_lie_together = theirs
    ours = ours_of(layer, query_rank, pairs_lie_together)
    places = torch.arange(LENGTH)
    mask = prepare(causal(), 2, places, places)
    hidden, wanted = torch.randn(2, 2, LENGTH, WIDTH)
    found = []
    for layer_ in (lambda h: run(h, places), lambda h: ours(h, positions=places, mask=mask)):
        with torch.enable_grad():
            given = hidden.clone().requires_grad_()
            (layer_(given) * wanted).sum().backward()
        found.append(given.grad)
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)

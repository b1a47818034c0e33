"""Attention: the plain formula in float64, the fused kernel and FlexAttention say the same."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from peluche.nn.attention import MultiHeadAttention, attention, explicit_attention
from peluche.nn.masks import Causal, Documents, Padding, Prefix, Window, from_dense, prepare
from peluche.nn.trace import tracing


def reference(query, key, value, visible, bias=0.0, scale=None, softcap=None):
    """The formula, one head at a time, in float64; a row that sees nothing gives zeros."""
    query, key, value = (t.double() for t in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    groups = query.shape[1] // key.shape[1]
    outputs = []
    for head in range(query.shape[1]):
        scores = query[:, head] @ key[:, head // groups].transpose(-1, -2) * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        if isinstance(bias, torch.Tensor):
            scores = scores + bias.double()[:, head % bias.shape[1]]
        scores = scores.masked_fill(~visible, -math.inf)
        weights = torch.exp(scores - scores.amax(-1, keepdim=True).clamp(min=-1e30))
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)
        outputs.append(weights @ value[:, head // groups])
    return torch.stack(outputs, dim=1)


def make(batch=2, heads=4, kv_heads=4, query=5, key=5, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, heads, query, width), *[(batch, kv_heads, key, width)] * 2]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def flex(query, key, value, visible, bias, scale):
    """FlexAttention, uncompiled, with the same visibility and bias."""
    block_mask = create_block_mask(
        lambda b, h, q, k: visible[b, q, k],
        query.shape[0],
        None,
        query.shape[2],
        key.shape[2],
        device="cpu",
        BLOCK_SIZE=128,
    )

    def add_bias(score, b, h, q, k):
        return score if bias is None else score + bias[b % bias.shape[0], h % bias.shape[1], q, k]

    return flex_attention(
        query, key, value, add_bias, block_mask, scale, query.shape[1] != key.shape[1]
    )


@given(
    kv_heads=st.sampled_from([1, 2, 4]),
    query=st.integers(1, 6),
    key=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    with_mask=st.booleans(),
    with_bias=st.sampled_from([None, (1, 1), (1, 4), (2, 4)]),
    scale=st.sampled_from([None, 0.3, 1.0]),
    softcap=st.sampled_from([None, 5.0]),
)
@settings(max_examples=60, deadline=None)
def test_all_paths_equal_the_formula(
    kv_heads, query, key, seed, with_mask, with_bias, scale, softcap
):
    q, k, v = make(kv_heads=kv_heads, query=query, key=key, seed=seed)
    visible = torch.ones(2, query, key, dtype=torch.bool)
    if with_mask:  # about a third of the rows of a small mask see nothing
        visible = torch.rand(2, query, key) < 0.4
    mask = from_dense(visible[:, None]) if with_mask else None
    bias = None if with_bias is None else torch.randn(*with_bias, query, key)
    expected = reference(q, k, v, visible, bias, scale, softcap)
    found = attention(q, k, v, mask, bias, scale, softcap)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    with tracing():
        traced = attention(q, k, v, mask, bias, scale, softcap)
    torch.testing.assert_close(traced.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_flex_attention_agrees(kv_heads):
    q, k, v = make(kv_heads=kv_heads, query=6, key=6)
    documents = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]])
    mask = (Causal() & Documents(documents)) | Prefix(torch.tensor([0, 2]))
    places = torch.arange(6)
    prepared = prepare(mask, 2, places, places)
    bias = torch.randn(1, 4, 6, 6)
    found = flex(q, k, v, prepared.dense[:, 0], bias, 0.3)
    torch.testing.assert_close(found, attention(q, k, v, prepared, bias, 0.3), atol=1e-5, rtol=0)


def test_causal_fast_path_equals_the_dense_mask():
    q, k, v = make()
    places = torch.arange(5)
    fast = prepare(Causal(), 2, places, places)
    dense = from_dense(torch.ones(1, 1, 5, 5).bool().tril())
    expected = attention(q, k, v, dense)
    bias = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(attention(q, k, v, fast), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(explicit_attention(q, k, v, fast, scale=8**-0.5)[0], expected)
    torch.testing.assert_close(
        attention(q, k, v, fast, bias), attention(q, k, v, dense, bias), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("path", ["fused", "explicit", "softcap", "bias"])
def test_blind_rows_give_zeros_and_finite_gradients(path):
    q, k, v = (t.requires_grad_() for t in make())
    valid = torch.tensor([[True] * 5, [False] * 5])
    mask = prepare(Padding(valid) & Window(2), 2, torch.arange(5), torch.arange(5))
    bias = torch.randn(1, 4, 5, 5) if path == "bias" else None
    if path == "explicit":
        found, weights = explicit_attention(q, k, v, mask)
        assert not weights[1].any()
    else:
        found = attention(q, k, v, mask, bias, softcap=3.0 if path == "softcap" else None)
    assert not found[1].any()
    assert found[0].any()
    found.square().sum().backward()
    for tensor in (q, k, v):
        assert torch.isfinite(tensor.grad).all()
        assert not tensor.grad[1].any()
        assert tensor.grad[0].any()


def test_gradients_of_the_paths_agree():
    gradients = []
    visible = torch.rand(2, 1, 5, 5) < 0.5
    bias = torch.randn(1, 4, 5, 5)
    for traced in (False, True):
        q, k, v = (t.requires_grad_() for t in make(kv_heads=2))
        if traced:
            with tracing():
                found = attention(q, k, v, from_dense(visible), bias)
        else:
            found = attention(q, k, v, from_dense(visible), bias)
        found.sin().sum().backward()
        gradients.append((q.grad, k.grad, v.grad))
    for fused, explicit in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=1e-5)


def test_weights_are_probabilities_and_large_scores_do_not_overflow():
    q, k, v = make()
    _, weights = explicit_attention(q * 1e4, k * 1e4, v)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5))
    assert torch.isfinite(attention(q * 1e4, k * 1e4, v)).all()


def test_attention_dropout_keeps_the_mean():
    torch.manual_seed(0)
    q, k, v = make(batch=1, heads=1, kv_heads=1)
    many = [t.expand(4000, -1, -1, -1) for t in (q, k, v)]
    dropped = attention(*many, dropout=0.5)
    assert not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(dropped.mean(0), attention(q, k, v)[0], atol=0.1, rtol=0)


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
def test_grouped_heads_equal_repeated_heads(kv_heads):
    torch.manual_seed(0)
    grouped = MultiHeadAttention(16, 4, kv_heads)
    full = MultiHeadAttention(16, 4)
    with torch.no_grad():
        for ours, theirs in zip(full.parameters(), grouped.parameters(), strict=True):
            repeats = ours.shape[0] // theirs.shape[0]
            heads = theirs.unflatten(0, (-1, 4)).repeat_interleave(repeats, dim=0)
            ours.copy_(heads.flatten(0, 1))
    hidden = torch.randn(2, 5, 16)
    places = torch.arange(5)
    mask = prepare(Causal(), 2, places, places)
    torch.testing.assert_close(
        grouped(hidden, positions=places, mask=mask),
        full(hidden, positions=places, mask=mask),
        atol=1e-6,
        rtol=0,
    )
    assert grouped.key.weight.shape == (4 * (kv_heads or 4), 16)


@pytest.mark.parametrize("length", [1, 3])
def test_rows_that_share_a_memory_equal_copies_of_it(length):
    torch.manual_seed(0)
    layer = MultiHeadAttention(16, 4, 2)
    memory = torch.randn(3, 6, 16)
    valid = torch.rand(3, 6) < 0.7
    hidden = torch.randn(12, length, 16)
    query = torch.arange(1)
    key, value = layer.keys_and_values(memory)
    shared = layer.cross(hidden, key, value, prepare(Padding(valid), 3, query, torch.arange(6)))
    key, value = layer.keys_and_values(memory.repeat_interleave(4, dim=0))
    wide = prepare(Padding(valid.repeat_interleave(4, dim=0)), 12, query, torch.arange(6))
    torch.testing.assert_close(shared, layer.cross(hidden, key, value, wide), atol=1e-6, rtol=0)


def test_other_documents_of_a_row_leave_no_trace():
    torch.manual_seed(0)
    layer = MultiHeadAttention(16, 4)
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2]])
    places = torch.arange(8)
    mask = prepare(Causal() & Documents(ids), 1, places, places)
    hidden = torch.randn(1, 8, 16)
    changed = torch.where(ids[..., None] == 1, torch.randn(1, 8, 16), hidden)
    before = layer(hidden, positions=places, mask=mask)
    after = layer(changed, positions=places, mask=mask)
    others = ids[0] != 1
    assert torch.equal(before[:, others], after[:, others])
    assert not torch.allclose(before[:, ~others], after[:, ~others])


def test_trace_holds_each_step_of_the_formula():
    q, k, v = make(kv_heads=2)
    with tracing() as trace:
        found = attention(q, k, v, scale=0.5)
    products = q @ k.repeat_interleave(2, dim=1).transpose(-1, -2)
    torch.testing.assert_close(trace["products"], products)
    torch.testing.assert_close(trace["scores"], products * 0.5)
    torch.testing.assert_close(trace["weights"], (products * 0.5).softmax(-1))
    assert torch.equal(trace["mixed"], found)

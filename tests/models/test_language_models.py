"""Language models: cached = uncached, packed documents apart, causal, the same surface for all."""

from typing import get_args

import pytest
import torch

from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.nn.positions import PositionKind

V = 23
SMALL = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 32, "dropout": 0.0}
PARTS = {
    "windows": {"window": {"size": 3}},
    "windows and all": {"window": {"size": 3, "global_every": 2, "rope": {"base": 100}}},
    "gemma": {
        "norm": "rmsnorm", "norm_placement": "sandwich", "qk_norm": True,
        "activation": "geglu_tanh", "attention_softcap": 5, "logit_softcap": 8,
        "scale_embeddings": True, "head_width": 6, "attention_scale": 0.3,
    },
    "nanochat": {
        "norm": "plain_rmsnorm", "norm_input": True, "qk_norm": True, "bias": False,
        "activation": "relu2", "logit_softcap": 15, "tie_embeddings": False,
    },
    "latent": {"bias": False, "latent": {"kv_rank": 12, "rope_width": 4}},
    "latent queries": {
        "bias": False, "window": {"size": 4},
        "latent": {"kv_rank": 12, "rope_width": 4, "query_rank": 10},
    },
    "yarn": {"rope": {"scaling": {"kind": "yarn", "factor": 4, "original_length": 8}}},
    "experts": {"experts": {"count": 4, "active": 2, "shared": 8}},
}  # fmt: skip
CONFIGS = {
    **{
        f"decoder-{positions}": DecoderConfig(positions=positions, max_length=32, **SMALL)
        for positions in get_args(PositionKind)
    },
    "gqa": DecoderConfig(kv_heads=1, tie_embeddings=False, norm_placement="post", **SMALL),
    **{name: DecoderConfig.parse({**SMALL, **values}) for name, values in PARTS.items()},
    **{
        cell: RecurrentLMConfig(cell=cell, embedding=12, hidden=16, layers=2, dropout=0.0)
        for cell in ("rnn", "gru", "lstm")
    },
    "state space": StateSpaceLMConfig.parse(
        {
            "d_model": 16,
            "layers": 2,
            "dropout": 0.0,
            "mixer": {"heads": 4, "width": 8, "state": 6, "groups": 2, "chunk": 4},
        }
    ),
}


@pytest.fixture(params=CONFIGS, ids=str)
def model(request):
    torch.manual_seed(0)
    return CONFIGS[request.param].build(V).eval()


def tokens(rows, length, seed=1):
    return torch.randint(4, V, (rows, length), generator=torch.Generator().manual_seed(seed))


def assert_unchanged(model, before, after):
    """To the bit, but for experts: how many rows one is given changes, and with it how PyTorch adds
    them up on some processors.
    """
    if getattr(model.config, "experts", None) is None:
        assert torch.equal(before, after)
    else:
        torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_no_token_sees_a_later_one(model):
    one = tokens(2, 9)
    other = one.clone()
    other[:, 6:] = tokens(2, 3, seed=2)
    before, after = model.hidden(one), model.hidden(other)
    assert_unchanged(model, before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


@torch.no_grad()
def test_cached_is_uncached(model):
    text = tokens(3, 10)
    whole = model.logits(model.hidden(text))
    state = model.start_state(3, 10)
    read = [
        model.hidden(text[:, first:end], positions=torch.arange(first, end), state=state)
        for first, end in [(0, 4), (4, 5), (5, 6), (6, 9), (9, 10)]
    ]
    torch.testing.assert_close(model.logits(torch.cat(read, 1)), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_of_a_state_can_be_chosen_and_forgotten(model):
    text = tokens(2, 6)
    state = model.start_state(2, 8)
    model.hidden(text, positions=torch.arange(6), state=state)
    state.select(torch.tensor([1, 1, 0]))
    state.truncate(4)
    after = model.hidden(text[[1, 1, 0], 4:5], positions=torch.tensor([4]), state=state)
    expected = model.hidden(text[[1, 1, 0], :5])[:, -1:]
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_packed_documents_do_not_see_each_other(model):
    text = tokens(2, 12)
    ids = torch.tensor([[0] * 5 + [1] * 7, [0] * 2 + [1] * 4 + [2] * 6])
    before = model.hidden(text, document_ids=ids)
    changed = text.clone()
    changed[0, :5] = tokens(1, 5, seed=3)
    changed[1, 2:6] = tokens(1, 4, seed=4)
    after = model.hidden(changed, document_ids=ids)
    untouched = torch.ones(2, 12, dtype=torch.bool)
    untouched[0, :5] = untouched[1, 2:6] = False
    assert_unchanged(model, before[untouched], after[untouched])
    assert not torch.allclose(before[~untouched], after[~untouched])


@torch.no_grad()
def test_recurrent_documents_are_read_as_if_alone():
    torch.manual_seed(0)
    model = CONFIGS["lstm"].build(V).eval()
    text = tokens(1, 9)
    packed = model.hidden(text, document_ids=torch.tensor([[0] * 4 + [1] * 5]))
    alone = torch.cat([model.hidden(text[:, :4]), model.hidden(text[:, 4:])], 1)
    torch.testing.assert_close(packed, alone, atol=1e-6, rtol=1e-6)


def test_it_learns_what_comes_next(model):
    """Whatever the positions: tokens are not lost among them."""
    text = torch.arange(4, V).repeat(3)[:40].view(2, 20)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        logits = model.logits(model.hidden(text))[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] < torch.tensor(float(V)).log() + 1.5
    assert losses[-1] < 0.1


def test_tied_weights_are_one(model):
    tied = model.config.tie_embeddings
    embeddings = [m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    assert any(weight is model.head.weight for weight in embeddings) == tied


def test_learned_positions_have_an_end():
    assert DecoderConfig(positions="learned", max_length=32, **SMALL).build(V).longest == 32
    assert DecoderConfig(positions="rope", **SMALL).build(V).longest is None


def test_impossible_sizes():
    with pytest.raises(ConfigError, match="heads"):
        DecoderConfig.parse({"d_model": 10, "heads": 3}, where="here")

"""Encoders against `transformers`' BERT, both ways; padding, packing, windows."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from peluche.errors import ConfigError
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_layouts import read_encoder, write_encoder
from peluche.models.layouts import read_entries
from peluche.models.roberta_layouts import read_roberta

V = 41
SIZES = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 36,
    "max_position_embeddings": 32,
}
TOKENS = torch.randint(1, V, (3, 20), generator=torch.Generator().manual_seed(1))
SEGMENTS = (torch.arange(20) > 8).long().expand(3, 20)
VALID = torch.arange(20) < torch.tensor([20, 13, 7])[:, None]


def theirs_of(name, **changes):
    config = transformers.BertConfig(**SIZES, **changes)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def ours_of(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    read = json.loads((tmp_path / "config.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    config, entries = read_encoder(read, tensors, tmp_path)
    ours = config.build(V).eval()
    ours.load_state_dict(read_entries(entries, tensors, tmp_path))
    return ours


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("BertModel", {}),
        ("BertForMaskedLM", {"hidden_act": "relu"}),
        ("BertForPreTraining", {"hidden_act": "gelu_new", "type_vocab_size": 3}),
    ],
)
@torch.no_grad()
def test_it_is_theirs_both_ways(tmp_path, name, changes):
    theirs = theirs_of(name, **changes)
    ours = ours_of(theirs, tmp_path)

    def compare(model):
        bert = model if name == "BertModel" else model.bert
        found = ours.hidden(TOKENS, valid=VALID, segments=SEGMENTS)
        read = {"attention_mask": VALID.long(), "token_type_ids": SEGMENTS}
        expected = bert(TOKENS, **read).last_hidden_state
        torch.testing.assert_close(found[VALID], expected[VALID], atol=1e-5, rtol=1e-5)
        if name == "BertModel":
            return
        out = model(TOKENS, **read)
        logits = out.logits if name == "BertForMaskedLM" else out.prediction_logits
        torch.testing.assert_close(ours.logits(found)[VALID], logits[VALID], atol=2e-5, rtol=1e-5)
        if name == "BertForPreTraining":
            torch.testing.assert_close(
                ours.relation_logits(found), out.seq_relationship_logits, atol=1e-5, rtol=1e-5
            )

    compare(theirs)
    architecture, config, tensors = write_encoder(ours.config, ours.state_dict(), V)
    assert architecture == name
    again = transformers.BertConfig.from_dict(config)
    loaded = getattr(transformers, name).from_pretrained(
        None, config=again, state_dict=tensors, attn_implementation="eager"
    )
    compare(loaded.eval())


@pytest.mark.parametrize("name", ["RobertaModel", "RobertaForMaskedLM", "XLMRobertaForMaskedLM"])
@torch.no_grad()
def test_roberta_is_read(tmp_path, name):
    """Positions count from the number of [PAD] plus one, here and in what BERT is made of it."""
    pad = 3 if name == "RobertaForMaskedLM" else 1
    base = "XLMRoberta" if name.startswith("XLM") else "Roberta"
    config = getattr(transformers, f"{base}Config")(**SIZES, type_vocab_size=1, pad_token_id=pad)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    theirs = getattr(transformers, name)(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    stored = load_file(tmp_path / "model.safetensors")
    found, entries = read_roberta(values, stored, tmp_path)
    state = read_entries(entries, stored, tmp_path)
    assert found.max_length == SIZES["max_position_embeddings"] - pad - 1
    ours = found.build(V).eval()
    ours.load_state_dict(state)

    tokens = TOKENS.clamp(min=pad + 1).masked_fill(~VALID, pad)
    read = {"attention_mask": VALID.long(), "output_hidden_states": True}
    out = theirs(tokens, **read)
    hidden = ours.hidden(tokens, valid=VALID)
    torch.testing.assert_close(hidden[VALID], out.hidden_states[-1][VALID], atol=1e-5, rtol=1e-5)
    architecture, written, tensors = write_encoder(found, state, V)
    bert = getattr(transformers, architecture).from_pretrained(
        None,
        config=transformers.BertConfig.from_dict({**written, "pad_token_id": pad}),
        state_dict=tensors,
        attn_implementation="eager",
    )
    again = bert.eval()(tokens, **read)
    torch.testing.assert_close(again.hidden_states[-1][VALID], hidden[VALID], atol=1e-5, rtol=1e-5)
    if found.masked:
        for logits in (ours.logits(hidden), again.logits):
            torch.testing.assert_close(logits[VALID], out.logits[VALID], atol=2e-5, rtol=1e-5)


def test_a_roberta_whose_head_differs_is_refused():
    values = transformers.RobertaConfig(**SIZES, hidden_act="relu").to_dict()
    with pytest.raises(ConfigError, match="gelu in its head"):
        read_roberta(values, {"lm_head.dense.weight": torch.ones(1)}, "here")


SMALL = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 32, "dropout": 0.0, "max_length": 32}
KINDS = {
    "bert": {},
    "modern": {
        "positions": "rope", "norm_placement": "pre", "norm": "rmsnorm", "bias": False,
        "activation": "geglu", "window": {"size": 4, "global_every": 2}, "segments": 0,
    },
    "experts": {"experts": {"count": 4}},
}  # fmt: skip


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    return EncoderConfig.parse({**SMALL, **KINDS[request.param]}).build(V).eval()


@torch.no_grad()
def test_padding_changes_nothing(model):
    together = model.hidden(TOKENS, valid=VALID)
    for row, length in enumerate((20, 13, 7)):
        alone = model.hidden(TOKENS[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_packed_documents_do_not_see_each_other(model):
    ids = torch.tensor([[0] * 9 + [1] * 11] * 3)
    before = model.hidden(TOKENS, document_ids=ids)
    changed = TOKENS.clone()
    changed[:, :9] = changed[:, :9] % 7 + 1
    after = model.hidden(changed, document_ids=ids)
    if model.config.experts is None:
        assert torch.equal(before[:, 9:], after[:, 9:])
    else:
        # How many rows an expert is given changes, and with it how they are added up.
        torch.testing.assert_close(before[:, 9:], after[:, 9:], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(before[:, :9], after[:, :9])


@torch.no_grad()
def test_both_directions_are_read(model):
    changed = TOKENS.clone()
    changed[:, 10] = changed[:, 10] % 7 + 1
    difference = (model.hidden(changed) - model.hidden(TOKENS)).abs().amax(-1)
    assert bool((difference[:, 9] > 0).all())
    assert bool((difference[:, 11] > 0).all())


def test_token_loss_is_cross_entropy_of_logits(model):
    hidden = torch.randn(9, 16, requires_grad=True)
    labels = torch.arange(9)
    torch.nn.init.normal_(model.masked.output.bias)
    loss = model.token_loss(hidden, labels)
    expected = torch.nn.functional.cross_entropy(model.logits(hidden), labels, reduction="sum")
    torch.testing.assert_close(loss.loss, expected)
    (found,) = torch.autograd.grad(loss.loss, hidden, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, hidden)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"next_sentence": True, "segments": 1}, "segments of 2"),
        ({"bias": False, "latent": {"kv_rank": 8}}, "latent"),
    ],
)
def test_what_does_not_go_together_is_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        EncoderConfig.parse({**SMALL, **values})


def test_what_bert_cannot_express_is_refused():
    config = EncoderConfig.parse({**SMALL, **KINDS["modern"]})
    with pytest.raises(ConfigError, match=r"model\.norm=rmsnorm"):
        write_encoder(config, {}, V)

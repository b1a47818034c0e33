"""muP: what is divided by how much wider a model is than its base."""

import pytest
import torch

from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_layouts import write_decoder
from peluche.training.optimizers import OptimizerConfig


def decoder(width, mup=True):
    torch.manual_seed(0)
    base = {"d_model": 32, "head_width": 8} if mup else None
    sizes = {"d_model": width, "layers": 2, "heads": 4, "d_ff": 2 * width, "mup": base}
    return DecoderConfig.parse({**sizes, "bias": False, "dropout": 0.0}).build(64)


def test_the_base_itself_is_the_plain_model():
    plain, same = decoder(32, mup=False), decoder(32)
    tokens = torch.arange(12).view(2, 6)
    assert torch.equal(plain.logits(plain.hidden(tokens)), same.logits(same.hidden(tokens)))
    groups = OptimizerConfig().build(same).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-3]


def test_hidden_matrices_alone_get_a_smaller_rate():
    model = decoder(128)
    groups = OptimizerConfig(lr=0.4, weight_decay=0.1).build(model).param_groups
    by_rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        hidden = parameter.dim() == 2 and "blocks" in name
        assert by_rate[id(parameter)] == (pytest.approx(0.1) if hidden else 0.4), name
    assert groups[2]["lr"] * groups[2]["weight_decay"] == pytest.approx(0.4 * 0.1)


def test_the_loss_is_of_the_logits():
    model, tokens = decoder(128), torch.arange(12)[None]
    hidden = model.hidden(tokens)
    loss = model.token_loss(hidden[0], tokens[0]).loss
    wanted = torch.nn.functional.cross_entropy(model.logits(hidden)[0], tokens[0], reduction="sum")
    torch.testing.assert_close(loss, wanted)


def test_muon_has_no_rule_for_it():
    with pytest.raises(ConfigError, match="no rule for optimizer"):
        OptimizerConfig(kind="muon").build(decoder(64))


def test_scores_are_scaled_once():
    with pytest.raises(ConfigError, match="leave attention_scale"):
        DecoderConfig.parse(
            {"mup": {"d_model": 32, "head_width": 8}, "attention_scale": 0.1, "d_model": 64}
        )


def test_other_tools_have_no_place_for_it(tmp_path):
    with pytest.raises(ConfigError, match="mup"):
        write_decoder(decoder(64).config, {}, 64)

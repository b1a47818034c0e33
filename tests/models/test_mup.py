"""muP's coordinate check: how large activations are after some steps does not follow the width."""

import pytest
import torch

from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_layouts import write_decoder
from peluche.training.optimizers import OptimizerConfig

WIDTHS = (32, 128, 512)


def decoder(width, mup=True):
    torch.manual_seed(0)
    base = {"d_model": WIDTHS[0], "head_width": 8} if mup else None
    sizes = {"d_model": width, "layers": 2, "heads": 4, "d_ff": 2 * width, "mup": base}
    return DecoderConfig.parse({**sizes, "bias": False, "dropout": 0.0}).build(64)


def logits_moved(width, mup, steps=4):
    """Root mean square of what a few steps of Adam change of the logits."""
    model = decoder(width, mup)
    optimizer = OptimizerConfig(kind="adam", lr=5e-3).build(model)
    tokens = torch.randint(64, (4, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model.logits(model.hidden(tokens[:, :-1]))
    for _ in range(steps):
        hidden = model.hidden(tokens[:, :-1])
        loss = model.token_loss(hidden.flatten(0, 1), tokens[:, 1:].flatten()).loss / 64
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = model.logits(model.hidden(tokens[:, :-1]))
    return float((after - before).square().mean().sqrt())


def test_logits_move_as_much_at_every_width():
    flat = [logits_moved(width, mup=True) for width in WIDTHS]
    steep = [logits_moved(width, mup=False) for width in WIDTHS]
    assert max(flat) / min(flat) < 1.5
    assert steep[-1] / steep[0] > 3


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

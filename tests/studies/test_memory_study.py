"""The memory study: gradients of a net that can be worked out by hand, and a task that is fair."""

import json

import pytest
import torch

from peluche.errors import ConfigError
from peluche.models.classifier import ClassifierConfig
from peluche.models.text_encoders import RecurrentEncoderConfig
from peluche.studies.memory import (
    NETS,
    MemoryConfig,
    Recall,
    gradient_norms,
    practise,
    study_memory,
)
from peluche.studies.memory_page import write_memory

SMALL = MemoryConfig(lengths=(2, 4), width=8, batch=4, steps=3, seeds=2)


def test_gradients_of_a_nearly_linear_net_fall_by_its_factor():
    """With h' = tanh(x + a·h) and tiny x, ∂h_T/∂x_{T−d} = aᵈ·I, of norm aᵈ·√width."""
    factor, width = 0.5, 64
    encoder = RecurrentEncoderConfig(
        cell="rnn", embedding=width, hidden=width, bidirectional=False, dropout=0.0
    )
    model = ClassifierConfig(encoder=encoder, pooling="last", dropout=0.0).build(16, 8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        parameters = dict(model.encoder.reader.recurrent.fused.named_parameters())
        parameters["weight_ih_l0"].copy_(torch.eye(width))
        parameters["weight_hh_l0"].copy_(factor * torch.eye(width))
        model.encoder.embedding.weight.normal_(std=1e-4)
    config = MemoryConfig(lengths=(12,), width=width)
    norms = gradient_norms(model, Recall(config, 12, 0).draw(512, 0))
    assert len(norms) == 12
    for distance, norm in enumerate(norms):
        assert norm == pytest.approx(factor**distance * width**0.5, rel=0.02)


@pytest.mark.parametrize("net", NETS)
def test_the_first_token_is_felt_by_every_net(net):
    config = MemoryConfig(lengths=(6,), width=8)
    torch.manual_seed(0)
    norms = gradient_norms(config.build(net).eval(), Recall(config, 6, 0).draw(8, 0))
    assert len(norms) == 6
    assert all(norm > 0 for norm in norms)


def test_the_task_is_drawn_from_its_seed_and_only_the_first_token_tells():
    config = MemoryConfig(symbols=3, noise=5)
    batch = Recall(config, 7, 1).draw(200, 4)
    again = Recall(config, 7, 1).draw(200, 4)
    assert torch.equal(batch.tokens, again.tokens)
    assert torch.equal(batch.labels, batch.tokens[:, 0])
    assert set(batch.labels.tolist()) == set(range(3))
    assert set(batch.tokens[:, 1:].flatten().tolist()) == set(range(3, 8))
    for other in (Recall(config, 7, 2).draw(200, 4), Recall(config, 7, 1).draw(200, 5)):
        assert not torch.equal(batch.tokens, other.tokens)


@pytest.mark.parametrize("net", NETS)
def test_every_net_learns_a_short_sequence(net):
    config = MemoryConfig(symbols=4, width=32, steps=80)
    model, recalled = practise(config, net, 3, 0)
    assert recalled > 95
    batch = Recall(config, 3, 9).draw(100, 0)
    with torch.no_grad():
        said = model.logits(model.hidden(batch.tokens, batch.valid)).argmax(-1)
    assert (said == batch.labels).float().mean() > 0.9


def test_the_page_holds_what_was_found(tmp_path):
    said = []
    found = study_memory(SMALL, said.append)
    assert set(found["gradients"]) == set(found["recall"]) == set(NETS)
    assert all(len(moments["after"]) == 4 for moments in found["gradients"].values())
    assert all(len(scores) == 2 for nets in found["recall"].values() for scores in nets.values())
    assert len(said) == len(NETS) * 2
    page = write_memory(tmp_path, found)
    assert json.loads((tmp_path / "study.json").read_text()) == found
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["gradients.png", "gradients.svg", "recall.png", "recall.svg"]
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/svg+xml;base64,") == 2
    assert "Chance is 12.5 %" in text


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="symbols"):
        MemoryConfig.parse({"symbols": 1})
    with pytest.raises(ConfigError, match="lengths"):
        MemoryConfig.parse({"lengths": []})
    with pytest.raises(ConfigError, match="did you mean 'lengths'"):
        MemoryConfig.parse({"length": [3]})

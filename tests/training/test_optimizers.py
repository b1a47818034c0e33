"""Which optimizer moves which parameter, and how several of them step as one."""

import copy

import pytest
import torch

from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.training.optimizers import Combined, OptimizerConfig
from peluche.training.states import load_optimizer_tensors, optimizer_tensors


def make(**changes):
    torch.manual_seed(0)
    config = EncoderDecoderConfig(d_model=8, layers=1, heads=2, d_ff=16, **changes)
    return config.build(20)


def step(model, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("tied", ["all", "none"])
def test_muon_moves_hidden_matrices_only(tied):
    model = make(tie_embeddings=tied)
    optimizer = OptimizerConfig(kind="muon").build(model)
    assert isinstance(optimizer, Combined)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_muon = {names[id(p)] for p in optimizer.parts[0].param_groups[0]["params"]}
    assert {name.rsplit(".", 1)[1] for name in by_muon} == {"weight"}
    assert all("blocks" in name and "norm" not in name for name in by_muon)
    everything = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(everything) == sorted(names)


def test_adam_alone_is_torch_s_own():
    assert type(OptimizerConfig(kind="adam").build(make())) is torch.optim.Adam
    assert type(OptimizerConfig().build(make())) is torch.optim.AdamW


def test_weight_decay_spares_vectors_and_embeddings():
    model = make()
    decayed, plain = OptimizerConfig(weight_decay=0.5).build(model).param_groups
    assert decayed["weight_decay"] == 0.5
    assert plain["weight_decay"] == 0
    assert all(parameter.dim() == 2 for parameter in decayed["params"])
    assert any(parameter is model.decoder.embedding.weight for parameter in plain["params"])


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_saved_and_loaded_goes_on_as_before(kind):
    model = make()
    optimizer = OptimizerConfig(kind=kind).build(model)
    for seed in range(3):
        step(model, optimizer, seed)
    other = copy.deepcopy(model)
    again = OptimizerConfig(kind=kind).build(other)
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    load_optimizer_tensors(again, saved)
    for seed in range(3, 5):
        step(model, optimizer, seed)
        step(other, again, seed)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_rate_that_is_set_is_used():
    model = make()
    optimizer = OptimizerConfig(kind="muon", weight_decay=0.0).build(model)
    before = copy.deepcopy(model.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(model, optimizer, 0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_muon_s_update_has_the_size_of_adam_s():
    """0.2·√max(rows, columns) times an orthogonal matrix has root mean square about 0.2."""
    model = make()
    optimizer = OptimizerConfig(kind="muon", lr=1.0, weight_decay=0.0).build(model)
    matrix = model.encoder.blocks[0].feed_forward.up.weight
    before = matrix.detach().clone()
    step(model, optimizer, 0)
    size = (matrix - before).square().mean().sqrt().item()
    assert 0.1 < size < 0.3


@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon"])
def test_parts_may_learn_slowly_or_not_at_all(kind):
    model = make()
    model.encoder.rate_share = 0.1
    model.decoder.requires_grad_(False)
    shared = {id(parameter) for parameter in model.encoder.parameters()}
    optimizer = OptimizerConfig(kind=kind, lr=2.0).build(model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert optimizer.param_groups[0]["lr"] == 2.0
    for parameter in model.parameters():
        if not parameter.requires_grad:
            assert id(parameter) not in rates
        else:
            assert rates[id(parameter)] == pytest.approx(0.2 if id(parameter) in shared else 2.0)
    assert any(id(parameter) in rates for parameter in model.encoder.parameters())

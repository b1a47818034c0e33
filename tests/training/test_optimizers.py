"""Which optimizer moves which parameter, and how several of them step as one."""

import copy

import pytest
import torch
from torch import nn

from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.nn.experts import ExpertsConfig
from peluche.training.muon import StackedMuon, orthogonalised
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


def experts(**changes):
    torch.manual_seed(0)
    settings = {"d_model": 8, "layers": 1, "heads": 2, "d_ff": 12, "bias": False, "norm": "rmsnorm"}
    return DecoderConfig(**settings, experts=ExpertsConfig(count=3), **changes).build(20)


def test_muon_moves_each_expert_as_torch_s_muon_moves_a_matrix():
    model = experts()
    stacks = [p for name, p in model.named_parameters() if p.dim() == 3]
    assert len(stacks) == 2
    config = OptimizerConfig(kind="muon", lr=0.1, weight_decay=0.2)
    optimizer = config.build(model)
    assert isinstance(optimizer.parts[1], StackedMuon)
    assert [id(p) for p in optimizer.parts[1].param_groups[0]["params"]] == list(map(id, stacks))
    alone = [[nn.Parameter(matrix.clone()) for matrix in stack.detach()] for stack in stacks]
    theirs = torch.optim.Muon(
        [matrix for stack in alone for matrix in stack],
        lr=0.1, weight_decay=0.2, momentum=config.momentum, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for stack, matrices in zip(stacks, alone, strict=True):
            for gradient, matrix in zip(stack.grad, matrices, strict=True):
                matrix.grad = gradient.clone()
        optimizer.step()
        theirs.step()
    for stack, matrices in zip(stacks, alone, strict=True):
        torch.testing.assert_close(stack, torch.stack(tuple(matrices)), atol=5e-3, rtol=0)


def test_orthogonalised_stacks_have_singular_values_near_one():
    stack = torch.randn(4, 24, 10, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(stack).float())
    assert values.min() > 0.6
    assert values.max() < 1.25


def test_a_run_with_experts_by_muon_goes_on_as_before():
    model = experts()
    optimizer = OptimizerConfig(kind="muon").build(model)
    step(model, optimizer, 0)
    other = copy.deepcopy(model)
    again = OptimizerConfig(kind="muon").build(other)
    load_optimizer_tensors(
        again, {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    )
    step(model, optimizer, 1)
    step(other, again, 1)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_optimizer_of_a_library():
    config = OptimizerConfig(kind="library", name="torch.optim.NAdam", options={"eps": 1e-5})
    optimizer = config.build(make())
    assert type(optimizer) is torch.optim.NAdam
    assert optimizer.param_groups[0]["eps"] == 1e-5
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("os.system", {}, "no optimizer of torch.optim or pytorch_optimizer"),
        ("torch.optim.lr_scheduler", {}, "has no optimizer 'lr_scheduler'"),
        ("torch.optim.NAdamm", {}, "has no optimizer 'NAdamm'"),
        ("torch.optim.NAdam", {"size": 3}, "refuses its options"),
    ],
)
def test_what_is_no_optimizer_of_a_library(name, options, says):
    with pytest.raises(ConfigError, match=says):
        OptimizerConfig(kind="library", name=name, options=options).build(make())


def test_a_name_belongs_to_a_library():
    with pytest.raises(ConfigError, match="name belongs to kind 'library'"):
        OptimizerConfig.parse({"kind": "adamw", "name": "torch.optim.NAdam"})


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

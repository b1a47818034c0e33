"""Memory that runs out, layers that are computed twice, layers that are compiled."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from peluche.data.annotation import SentenceBatch
from peluche.data.packing import LanguageBatch
from peluche.errors import ResourceError
from peluche.memory import is_out_of_memory, pieces_of
from peluche.models.decoder import DecoderConfig
from peluche.objectives.causal import CausalConfig, CausalObjective
from peluche.processes import Processes, SeveralProcesses
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe
from peluche.training.config import TrainingConfig
from peluche.training.gradient import Gradient
from peluche.training.layers import forget_activations
from peluche.training.replica import Replica

TINY = DecoderConfig(d_model=16, layers=2, heads=2, d_ff=32, dropout=0.0)


def batch(rows: int, seed: int = 0) -> LanguageBatch:
    tokens = torch.randint(4, 20, (rows, 9), generator=torch.Generator().manual_seed(seed))
    valid = torch.rand(rows, 8, generator=torch.Generator().manual_seed(seed)) < 0.8
    return LanguageBatch(tokens[:, :-1], tokens[:, 1:], valid, torch.zeros(rows, 8).long())


def model_of(config: DecoderConfig = TINY) -> nn.Module:
    torch.manual_seed(0)
    return config.build(20)


class Crowded(CausalObjective):
    """Runs out of memory with more than so many rows."""

    def __init__(self, rows: int, error: BaseException) -> None:
        super().__init__(CausalConfig())
        self.rows, self.error, self.seen = rows, error, []

    def __call__(self, model, batch):
        losses = super().__call__(model, batch)  # what is computed before it runs out is lost
        if len(batch.tokens) > self.rows:
            raise self.error
        self.seen.append(len(batch.tokens))
        return losses


def gradient_of(objective, batches, config: TrainingConfig | None = None, **processes):
    said: list[str] = []
    model = model_of()
    gradient = Gradient(
        Replica(model, objective),
        config or TrainingConfig(steps=1, clip=None),
        processes.get("processes", Processes()),
        said.append,
    )
    totals, norm = gradient.of(batches)
    return totals.means(), norm, [p.grad.clone() for p in model.parameters()], said, gradient


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_batches_are_halved_until_they_fit_and_the_gradient_stays_the_same(error):
    batches = [batch(6), batch(5, seed=1)]
    crowded = Crowded(2, error)
    values, norm, gradients, said, gradient = gradient_of(crowded, batches)
    expected, whole_norm, whole, nothing, _ = gradient_of(CausalConfig().build(), batches)
    assert crowded.seen == [2, 2, 2, 2, 2, 1]
    assert gradient.pieces == 4
    assert said == [
        f"memory ran out: batches are computed in {pieces} pieces from here on" for pieces in (2, 4)
    ]
    assert nothing == []
    assert values == pytest.approx(expected, rel=1e-6)
    assert norm == pytest.approx(whole_norm, rel=1e-6)
    for left, right in zip(gradients, whole, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-8)


def test_a_row_that_does_not_fit_is_an_error_with_a_remedy():
    with pytest.raises(ResourceError, match="a single row") as raised:
        gradient_of(Crowded(0, MemoryError()), [batch(4)])
    assert "training.checkpointing=true" in str(raised.value)


def test_an_objective_over_the_whole_step_is_not_cut():
    class Whole(Crowded):
        whole_step = True

    with pytest.raises(ResourceError, match="the whole of it at once"):
        gradient_of(Whole(1, MemoryError()), [batch(4)])


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="size mismatch"):
        gradient_of(Crowded(1, RuntimeError("size mismatch")), [batch(4)])


def test_one_of_several_processes_says_what_to_set(monkeypatch):
    monkeypatch.setattr(SeveralProcesses, "total", lambda self, numbers: dict(numbers))
    with pytest.raises(ResourceError, match="one of several processes"):
        gradient_of(Crowded(1, MemoryError()), [batch(4)], processes=SeveralProcesses(0, 2))


def test_what_torch_says_of_the_memory_of_this_machine_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 55)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("something else"))


@pytest.mark.parametrize("count", [2, 3, 4, 7, 100])
def test_pieces_have_every_row_once_in_order(count):
    whole = batch(7)
    pieces = pieces_of(whole, count)
    assert len(pieces) <= count
    for name in ("tokens", "labels", "valid", "document_ids"):
        joined = torch.cat([getattr(piece, name) for piece in pieces])
        assert torch.equal(joined, getattr(whole, name))
    assert all(piece.prefix is None for piece in pieces)


def test_a_single_row_is_a_batch_like_others():
    crowded = Crowded(2, MemoryError())
    _, _, _, _, gradient = gradient_of(crowded, [batch(4)])
    gradient.of([batch(1)])
    assert crowded.seen == [2, 2, 1]


def test_what_belongs_to_all_rows_goes_with_every_piece():
    words = torch.arange(6).view(2, 3)
    spellings = torch.arange(8).view(2, 4)
    whole = SentenceBatch(words, words % 2, spellings, torch.ones(2, 3, dtype=torch.bool))
    first, second = pieces_of(whole, 2)
    assert torch.equal(second.words, words[1:])
    assert torch.equal(first.spellings, spellings)
    assert torch.equal(second.spellings, spellings)


# --- layers -----------------------------------------------------------------------------------


def kept_bytes(model: nn.Module) -> tuple[int, list[torch.Tensor]]:
    """What a forward pass keeps for the backward pass, and the gradient."""
    kept: dict[int, int] = {}
    parameters = {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = CausalConfig().build(model.config.experts)(model, batch(4))
    sum(term.total * (term.weight / term.count) for term in losses.terms.values()).backward()
    return sum(kept.values()), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("experts", [None, {"count": 4, "active": 2, "balance_weight": 0.1}])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_that_forget_have_the_same_gradient_and_keep_less(experts, dropout):
    config = TINY.model_copy(update={"layers": 6, "dropout": dropout})
    config = DecoderConfig(**{**config.model_dump(), "experts": experts})
    plain, forgetful = model_of(config), model_of(config)
    forget_activations(forgetful)
    found = []
    for model in (plain, forgetful):
        torch.manual_seed(1)
        found.append(kept_bytes(model))
    (much, expected), (little, gradients) = found
    for left, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert little < much / 2


# In a process of its own: checks of shapes at run time are not for the compiler. Traced and
# differentiated ahead of time, but not turned into machine code, which takes a minute.
COMPILED = """
import json, sys
from functools import partialmethod
from pathlib import Path
import torch
torch.nn.Module.compile = partialmethod(torch.nn.Module.compile, backend="aot_eager")
from peluche.nn.dropout import Dropout
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe

run, _ = train_recipe(parse_recipe(json.loads(sys.argv[1])), Path("compiled"))
losses = [event["loss"] for event in run.events() if event["event"] == "step"]
graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]

ones = torch.ones(4, 16)
add = torch.compile(Dropout(0.5).add, backend="eager", fullgraph=True)
print(json.dumps([losses, graphs, add(ones, ones).unique().tolist()]))
"""


@pytest.mark.slow
def test_a_compiled_recipe_trains_as_the_plain_one(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the bear reads and the cat sings\n" * 40)
    source = {"kind": "document", "path": str(text)}
    values = {
        "name": "tiny",
        "task": "language_modelling",
        "data": {"train": source, "validation": {**source, "part": [0.9, 1.0]}},
        "tokenizer": {"kind": "character"},
        "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "dropout": 0.0},
        "batching": {"length": 16, "tokens": 64},
        "optimizer": {"lr": 1e-2},
        "training": {"steps": 4, "log_every": 1, "threads": 1},
    }
    plain, _ = train_recipe(parse_recipe(values), tmp_path / "plain")
    values["training"]["compile"] = True
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, json.dumps(values)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    losses, graphs, dropped = json.loads(done.stdout)
    expected = [event["loss"] for event in plain.events() if event["event"] == "step"]
    assert losses == pytest.approx(expected, rel=1e-5)
    assert graphs >= 1, "nothing was compiled"
    assert dropped == [1.0, 3.0]

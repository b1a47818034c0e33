"""What a run makes of its machine: counted and divided by hand."""

from types import SimpleNamespace

import pytest
import torch

from peluche.hub.run import RunDirectory
from peluche.nn import machine
from peluche.nn.machine import peak_memory, product_rate
from peluche.processes import Processes
from peluche.reporting.run_summary import summarise
from peluche.training import efficiency
from peluche.training.efficiency import Efficiency, Forecast
from peluche.training.events import EvaluateEvent, StepEvent

TRAINER = SimpleNamespace(
    config=SimpleNamespace(precision="float32"),
    device=torch.device("cpu"),
    step=0,
    processes=Processes(),
)


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "run", {"name": "a"})


def step(number, tokens, seconds):
    return StepEvent(number, 0, {"loss": 1.0}, {"loss": 1.0}, 0.1, 1.0, tokens, seconds)


def logged(run, kind):
    return [event for event in run.events() if event["event"] == kind]


def test_between_evaluations(run, monkeypatch):
    monkeypatch.setattr(efficiency, "product_rate", lambda device, dtype: 1e6)
    hook = Efficiency(run, flops=300.0)
    hook.start(TRAINER)
    hook.step(step(1, 100, 0.5))
    hook.step(step(2, 60, 0.3))
    hook.evaluate(EvaluateEvent(2, {}))
    hook.step(step(3, 50, 1.0))
    hook.stop("finished")
    hook.stop("finished")
    first, second = logged(run, "efficiency")
    assert (first["step"], second["step"]) == (2, 3)
    assert first["tokens_per_second"] == pytest.approx(200)
    assert first["flops"] == 160 * 300
    assert first["mfu"] == pytest.approx(200 * 300 / 1e6)
    assert second["mfu"] == pytest.approx(50 * 300 / 1e6)
    summary = summarise(run)
    assert summary.flops == 210 * 300
    assert summary.mfu == pytest.approx(210 * 300 / 1.8 / 1e6)
    assert summary.peak_bytes == second["peak_bytes"]


def test_this_process_has_memory():
    assert peak_memory() > 50e6


def test_products_take_time_and_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    machine._product_rate.cache_clear()
    rate = product_rate(torch.device("cpu"))
    assert 1e8 < rate < 1e13
    assert torch.equal(torch.get_rng_state(), before)


def test_a_forecast(run):
    said = []
    hook = Forecast(run, 2.2, said.append)
    hook.stop("finished")
    hook.evaluate(EvaluateEvent(1, {"nll": 3.0}))
    hook.evaluate(EvaluateEvent(2, {"nll": 2.0}))
    hook.stop("stopped by SIGINT")
    assert logged(run, "forecast") == []
    hook.stop("finished")
    (event,) = logged(run, "forecast")
    assert (event["predicted"], event["reached"]) == (2.2, 2.0)
    assert event["error"] == pytest.approx(0.1)
    assert said == ["predicted loss 2.200, reached 2.000 (+10.0%)"]
    assert summarise(run).forecast == event

"""The scaling study: constants that are known come back, and a small grid is run."""

import csv
import json
import math
import os
from pathlib import Path

import pytest
import torch

from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.recipes.scaling_law import ScalingLaw
from peluche.studies import scaling
from peluche.studies.scaling import Point, fit_law, run_scaling

DATA = Path(os.environ.get("PELUCHE_DATA", "")) / "chinchilla" / "svg_extracted_data.csv"


def test_constants_come_back_from_losses_that_follow_the_law():
    points = [
        Point(n, d, 1.7 + 300 / n**0.35 + 500 / d**0.4)
        for n in (1e5, 3e5, 1e6, 3e6)
        for d in (1e6, 3e6, 1e7)
    ]
    law = fit_law(points, "a.txt", 512)
    assert law.irreducible == pytest.approx(1.7, rel=1e-2)
    assert law.alpha == pytest.approx(0.35, rel=1e-2)
    assert law.beta == pytest.approx(0.4, rel=1e-2)
    for point in points:
        assert law.loss(point.parameters, point.tokens, math.inf) == pytest.approx(
            point.loss, rel=1e-4
        )
    assert (law.runs, law.fitted_on, law.vocabulary) == (12, "a.txt", 512)


def test_too_few_runs():
    with pytest.raises(DataError, match="5 runs are too few"):
        fit_law([Point(1e5, 1e6, 3.0)] * 5, "a.txt", 512)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs PELUCHE_DATA")
def test_the_replication_of_chinchilla():
    """Besiroglu et al. 2024, table 1, from the runs of Hoffmann et al. (2022), figure 4."""
    with DATA.open() as lines:
        rows = list(csv.DictReader(lines))
    points = [
        Point(size, float(row["Training FLOP"]) / (6 * size), float(row["loss"]))
        for row in rows
        for size in [float(row["Model Size"])]
    ]
    points = sorted(points, key=lambda point: point.loss)[: len(points) - 5]
    law = fit_law(points, "chinchilla", 32_000)
    assert law.irreducible == pytest.approx(1.8172, abs=2e-3)
    assert law.alpha == pytest.approx(0.3478, abs=2e-3)
    assert law.beta == pytest.approx(0.3658, abs=2e-3)


def test_a_run_that_was_stopped_is_not_an_end(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {})
    run.save_weights({"w": torch.zeros(1)})
    for reason, ended in (("stopped by SIGINT", False), ("finished", True)):
        run.log({"event": "stop", "reason": reason})
        assert scaling._ended(run.path) is ended


def test_a_grid_is_trained_once(tmp_path, monkeypatch):
    text = "".join(f"the cat {n} purrs\n" for n in range(400))
    (tmp_path / "a.txt").write_text(text)
    grid = {(1, 16): (0.0005, 0.001, 0.002), (1, 32): (0.0005, 0.001, 0.002)}
    monkeypatch.setattr(scaling, "GRID", grid)
    changes = [
        f"data.train.path={tmp_path / 'a.txt'}",
        f"data.validation.path={tmp_path / 'a.txt'}",
        "tokenizer={kind: byte}",
        "batching.length=16",
        "evaluation.sample=null",
        "training.threads=1",
    ]
    fitted = []

    def fit(points, path, vocabulary):
        fitted.append(points)
        constants = {"irreducible": 1.0, "a": 9.0, "alpha": 0.2, "b": 9.0, "beta": 0.2}
        return ScalingLaw(**constants, fitted_on=path, vocabulary=vocabulary, runs=len(points))

    # Losses of runs as short as these follow no law.
    monkeypatch.setattr(scaling, "fit_law", fit)
    said = []
    found = run_scaling(tmp_path / "study", "gpt", changes, said.append)
    assert len([line for line in said if line.startswith("run ")]) == 6
    assert json.loads((tmp_path / "study" / "study.json").read_text()) == found
    assert [point.loss for point in fitted[0]] == [run["loss"] for run in found["runs"]]
    assert [point.parameters for point in fitted[0]] == [7_312] * 3 + [20_768] * 3
    for run, millions in zip(found["runs"], grid[1, 16] * 2, strict=True):
        assert run["tokens"] == pytest.approx(millions * 1e6, rel=0.2)
    assert found["law"]["fitted_on"] == str(tmp_path / "a.txt")
    again = []
    assert run_scaling(tmp_path / "study", "gpt", changes, again.append) == found
    assert again == []

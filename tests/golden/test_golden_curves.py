"""The losses of twenty steps of every family are what they were: arithmetic, data and schedules."""

import json
from typing import get_args

import pytest
from golden_recipes import CURVES, FAMILIES, losses, write_texts

from peluche.models.language_registry import LanguageModelConfig
from peluche.recipes.recipe import RECIPES

# Relative. Without vector instructions losses differ by 2e-6; without weight decay by 1e-5 to 6e-3.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    write_texts(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_steps_lose_what_they_lost(family, texts, tmp_path):
    golden = json.loads(CURVES.read_text(encoding="utf-8"))
    assert losses(family, texts, tmp_path / "run") == pytest.approx(golden[family], rel=TOLERANCE)


def test_every_task_and_language_model_has_a_curve():
    assert {task for task, _, _ in FAMILIES.values()} == RECIPES.keys()
    union, *_ = get_args(LanguageModelConfig)
    kinds = {config.model_fields["kind"].default for config in get_args(union)}
    kinds.remove("pretrained")  # what it is then like is one of the others
    assert kinds <= {values.get("model", {}).get("kind") for _, _, values in FAMILIES.values()}

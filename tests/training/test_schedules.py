"""Learning-rate factors against their closed forms."""

import math

import pytest

from peluche.training.schedules import Constant, Cosine, InverseSqrt, WarmupStableDecay


@pytest.mark.parametrize("kind", [Constant, InverseSqrt, Cosine, WarmupStableDecay])
def test_warmup_is_linear(kind):
    schedule = kind(warmup=10)
    assert [schedule.factor(step, 100) for step in (1, 5, 9)] == pytest.approx([0.1, 0.5, 0.9])
    assert schedule.factor(10, 100) == pytest.approx(1.0)


def test_inverse_square_root_follows_the_paper():
    schedule = InverseSqrt(warmup=4000)
    d_model = 512
    for step in (1, 2000, 4000, 5000, 100_000):
        paper = d_model**-0.5 * min(step**-0.5, step * 4000**-1.5)
        peak = d_model**-0.5 * 4000**-0.5
        assert schedule.factor(step, 100_000) == pytest.approx(paper / peak)


def test_cosine_halves_midway_and_ends_at_the_floor():
    schedule = Cosine(warmup=0, floor=0.1)
    assert schedule.factor(50, 100) == pytest.approx(0.1 + 0.9 / 2)
    assert schedule.factor(25, 100) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.factor(100, 100) == pytest.approx(0.1)


def test_wsd_is_flat_then_linear():
    schedule = WarmupStableDecay(warmup=10, decay=0.2)
    assert schedule.factor(11, 100) == schedule.factor(80, 100) == 1.0
    assert schedule.factor(90, 100) == pytest.approx(0.5)
    assert schedule.factor(100, 100) == 0.0

"""Charts: all stays inside the frame, ticks are round, what cannot be drawn is left out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.reporting.chart import MOST_POINTS, WIDTH, Line, line_chart, readable

values = st.one_of(
    st.floats(-1e6, 1e6).map(lambda value: round(value, 9)),
    st.floats(1e-9, 1e-6),
    st.sampled_from([math.nan, math.inf]),
)


@given(st.lists(values, max_size=30), st.sampled_from(["linear", "log"]))
def test_all_is_inside_the_frame(heights, scale):
    points = [(10.0 * step, y) for step, y in enumerate(heights)]
    chart = line_chart("Any", [Line("y", points, dots=True)], scale=scale)
    drawable = [y for y in heights if math.isfinite(y) and (y > 0 or scale == "linear")]
    if not drawable:
        assert chart is None
        return
    dots = chart.lines[0].dots
    assert len(dots) == len(drawable)
    assert all(chart.left <= x <= chart.right for x, _, _ in dots)
    assert all(chart.top <= y <= chart.bottom for _, y, _ in dots)
    assert all(0 <= tick.at <= WIDTH for tick in chart.x_ticks)
    assert all(chart.top - 0.1 <= tick.at <= chart.bottom + 0.1 for tick in chart.y_ticks)
    assert 1 <= len(chart.y_ticks) <= 12


def test_higher_values_are_higher_up():
    chart = line_chart("Up", [Line("y", [(0, 1.0), (10, 3.0)], dots=True)])
    (_, low, _), (_, high, _) = chart.lines[0].dots
    assert low > high
    assert [tick.label for tick in chart.y_ticks] == ["1", "1.5", "2", "2.5", "3"]
    assert [tick.label for tick in chart.x_ticks] == ["0", "2", "4", "6", "8", "10"]


def test_equal_ratios_are_equal_distances_on_a_log_scale():
    chart = line_chart(
        "Log", [Line("y", [(0, 1.0), (1, 10.0), (2, 100.0)], dots=True)], scale="log"
    )
    heights = [y for _, y, _ in chart.lines[0].dots]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.11)
    assert [tick.label for tick in chart.y_ticks] == ["1", "2", "5", "10", "20", "50", "100"]


def test_a_fixed_range_is_kept():
    chart = line_chart("Percent", [Line("y", [(0, 40.0), (1, 60.0)])], y_range=(0, 100))
    assert chart.y_ticks[0].at == chart.bottom
    assert chart.y_ticks[-1].at == chart.top


def test_a_long_line_is_thinned_to_means():
    points = [(float(step), float(step % 2)) for step in range(10 * MOST_POINTS)]
    drawn = line_chart("Long", [Line("y", points)]).lines[0]
    assert drawn.path.count("L") + 1 == MOST_POINTS
    assert drawn.last == "0.5"


def test_one_point_is_a_dot():
    (drawn,) = line_chart("One", [Line("y", [(20, 3.0)])]).lines
    assert [says for _, _, says in drawn.dots] == ["y, step 20: 3"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00025, "0.00025"), (97.254, "97.25"), (1500, "1,500"), (3_061_632, "3.062M")],
)
def test_readable(value, text):
    assert readable(value) == text

"""Damaged files of models on the whole way from the file to a completion."""

import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from peluche.errors import PelucheError
from peluche.tasks.load import load_completer

LARGE = 2**31 - 1
fuzzed = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
plain = st.one_of(
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 3, 7, 300, LARGE, 2**32 - 1]),
    st.sampled_from([0.0, -1.0, 0.5, 1e-30, 1e30, math.nan, math.inf]),
    st.text(max_size=3),
)


def go_all_the_way(path):
    """Config, model, tokenizer, one completion."""
    found = load_completer(path).complete(["A cute"], max_tokens=2)
    assert len(found) == 1
    assert math.isfinite(found[0].score)


def refused(path):
    try:
        go_all_the_way(path)
    except PelucheError as error:
        return str(error)
    return None

"""Configs in words."""

from peluche.reporting.descriptions import describe_source
from peluche.reporting.report import _about


def test_settings_of_reading_are_no_data():
    train = {"kind": "lines", "path": "a.txt", "slice": [0.0, 0.5]}
    about = _about({"data": {"train": train, "test": None, "workers": 2, "tokens": "store"}})
    assert about == {"train data": "a.txt, 0.5 of it"}


def test_a_mixture_says_what_is_in_it():
    sources = [
        {"weight": 3.0, "source": {"kind": "lines", "path": "a.txt"}},
        {"weight": 1.0, "source": {"kind": "parquet", "path": "b.parquet"}},
    ]
    said = describe_source({"kind": "mixture", "sources": sources})
    assert said == "3 of a.txt; 1 of b.parquet"

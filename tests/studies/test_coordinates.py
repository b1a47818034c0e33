"""The coordinate check: flat with muP, steep without."""

import json

import pytest

from peluche.errors import ConfigError
from peluche.studies.coordinates import CoordinatesConfig, study_coordinates, write_coordinates


def test_logits_move_as_much_at_every_width(tmp_path):
    found = study_coordinates(CoordinatesConfig(widths=(32, 128, 512), seeds=1))
    flat, steep = found["moved"]["muP"], found["moved"]["without"]
    assert flat[0] == steep[0]
    assert max(flat) / min(flat) < 1.5
    assert steep[-1] / steep[0] > 3
    page = write_coordinates(tmp_path / "study", found)
    assert f"{steep[-1]:.3f}" in page.read_text()
    assert (page.parent / "pictures" / "coordinates.svg").exists()
    assert json.loads((page.parent / "study.json").read_text())["moved"] == found["moved"]


def test_one_width_is_no_comparison():
    with pytest.raises(ConfigError, match="widths"):
        CoordinatesConfig.parse({"widths": [32]})

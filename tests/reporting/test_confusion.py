"""The table of confusions: cells, files, and that it says what it cannot draw."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from peluche.errors import ConfigError
from peluche.reporting.confusion import confusion_svg, draw_confusion, write_confusion
from peluche.tasks.evaluation import Evaluation

EXAMPLES = [
    {"source": "x", "reference": gold, "output": said}
    for gold, said in [("a", "a"), ("a", "b"), ("a", "a"), ("b$", "b$")]
]
LABELS = ["a", "b", "b$"]


def test_cells_are_counts_and_colours_are_shares_of_the_row():
    matrix = np.array([[2.0, 1, 0], [0, 0, 0], [0, 0, 1]])
    axes = draw_confusion(LABELS, matrix).axes[0]
    assert [text.get_text() for text in axes.texts] == ["2", "1", "1"]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [0, 0, 0], [0, 0, 1]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == LABELS


def test_many_labels_have_no_numbers():
    axes = draw_confusion([str(n) for n in range(40)], np.eye(40)).axes[0]
    assert not axes.texts


@pytest.mark.parametrize("name", ["c.png", "c.SVG"])
def test_files(tmp_path, name):
    path = write_confusion(Evaluation([], EXAMPLES, 0.0, LABELS), tmp_path / name)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if name == "c.png" else b"<?xml")
    again = write_confusion(Evaluation([], EXAMPLES, 0.0, LABELS), tmp_path / ("again-" + name))
    assert again.read_bytes() == content


def test_the_svg_has_the_labels_as_text():
    found = ElementTree.fromstring(confusion_svg(LABELS, EXAMPLES))
    texts = {element.text for element in found.iter() if element.tag.endswith("text")}
    assert {"a", "b", "b$", "gold", "predicted", "2", "1"} <= texts


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(ConfigError, match="for classifiers"):
        write_confusion(Evaluation([], EXAMPLES, 0.0), tmp_path / "c.png")
    with pytest.raises(ConfigError, match=r"end its name in \.svg"):
        write_confusion(Evaluation([], EXAMPLES, 0.0, LABELS), tmp_path / "c.jpg")

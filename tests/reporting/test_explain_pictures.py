from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from explain_models import SHORT, make_explanation, make_model, make_tokenizer

from peluche.reporting import pictures
from peluche.reporting.explain import explain
from peluche.reporting.pictures import draw_pictures, write_pictures

NAMES = ["embedding-and-position", "encoder-layer-1", "decoder-layer-1-self"]
NAMES += ["decoder-layer-1-cross", "alignment"]


def small_explanation(sentence: str, **changes):
    tokenizer = make_tokenizer()
    sizes = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 16, **changes}
    return explain(make_model(len(tokenizer), **sizes), tokenizer, sentence, decoding=SHORT)


def test_every_picture_is_written_in_both_formats(tmp_path):
    # A dollar sign is no formula, and a character without a glyph no warning.
    written = write_pictures(small_explanation("A $cute$ 熊."), tmp_path / "new")
    assert [path.name for path in written] == [
        f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")
    ]
    for path in written:
        head = path.read_bytes()[:200]
        assert head.startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")
    assert "$" in written[-1].read_text(encoding="utf-8")


def test_the_same_numbers_give_the_same_files(tmp_path, monkeypatch):
    draw = pictures.draw_pictures
    monkeypatch.setattr(pictures, "draw_pictures", lambda explained: islice(draw(explained), 1))
    explanation = small_explanation("A bear.")
    files = [write_pictures(explanation, tmp_path / name) for name in "ab"]
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    assert len(files[0]) == 2


def test_a_picture_shows_the_weights_of_each_head():
    explanation = make_explanation()
    figures = dict(draw_pictures(explanation))
    assert len(figures) == 1 + 2 + 2 * 2 + 1
    for number, layer in enumerate(explanation.decoder.layers, start=1):
        panels = [axes for axes in figures[f"decoder-layer-{number}-cross"].axes if axes.images]
        for axes, head in zip(panels, layer.cross_attention, strict=False):
            np.testing.assert_array_equal(axes.images[0].get_array(), head.weights)
            names = [label.get_text() for label in axes.get_xticklabels()]
            assert names == [token.text for token in explanation.source.tokens]


@pytest.mark.parametrize(("positions", "second"), [("alibi", []), ("rope", ["Position: cosine"])])
def test_without_added_positions_there_is_no_sum(positions, second):
    figure = dict(draw_pictures(small_explanation("A bear.", positions=positions)))[NAMES[0]]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    found = [title[:16] for title in titles if title]
    assert found == ["Embedding, times", *second]

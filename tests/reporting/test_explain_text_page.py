"""The page about a text: whole, inert, small, and alive in a real browser."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
from explain_models import READERS, TEXT, make_config, make_reader
from test_explain_browser import numbers, open_page, slide
from test_explain_page import HOSTILE, Elements

from peluche.reporting.explain_text import explain_text
from peluche.reporting.page import render_page, write_page
from peluche.reporting.text_reading import View
from peluche.tasks.complete import Completer

__all__ = ["open_page"]


def unpack(text: str, length: int, causal: bool) -> np.ndarray:
    shares = np.frombuffer(base64.b64decode(text), "<u2") / 65535
    if not causal:
        return shares.reshape(length, length)
    weights = np.zeros((length, length))
    weights[np.tril_indices(length)] = shares
    return weights


@pytest.mark.parametrize("name", READERS)
def test_the_page_holds_the_numbers_of_the_json(name):
    found = explain_text(make_reader(name), TEXT)
    data = json.loads(Elements(render_page(found)).scripts[0])
    expected = json.loads(json.dumps(found.as_json()))
    shown, _ = data.pop("attention"), expected.pop("attention")
    assert data == expected
    for layer, wanted in zip(shown, found.attention, strict=True):
        for head, true in zip(layer["heads"], wanted.heads, strict=True):
            unpacked = unpack(head["weights"], len(found.tokens), found.ahead == 1)
            np.testing.assert_allclose(unpacked, true.weights, atol=1e-5, rtol=0)


def test_three_hundred_tokens_through_thirty_layers_are_less_than_5_mb():
    config = make_config(
        {"kind": "decoder", "d_model": 18, "layers": 30, "heads": 9, "d_ff": 8, "head_width": 4}
    )
    tokenizer = make_reader("decoder").tokenizer
    text = TEXT * 24
    found = explain_text(Completer(config.build(len(tokenizer)), tokenizer), text, View(tokens=300))
    assert len(found.tokens) == 300
    assert 1_000_000 < len(render_page(found).encode()) < 5_000_000


def test_a_hostile_text_is_text():
    task = make_reader("decoder")
    hostile, plain = (Elements(render_page(explain_text(task, t))) for t in (HOSTILE, "A bear."))
    assert len(hostile.scripts) == len(plain.scripts) == 2
    assert {tag for tag, _ in hostile.found} <= {tag for tag, _ in plain.found} | {"em"}


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [("experts", "light", 1200), ("experts", "dark", 320), ("encoder", "light", 390),
     ("space", "dark", 1200)],
)  # fmt: skip
def test_it_opens_fits_and_moves(tmp_path, request, name, scheme, width):
    page_of = request.getfixturevalue("open_page")
    found = explain_text(make_reader(name), TEXT)
    write_page(found, tmp_path / "page.html")
    page = page_of(
        (tmp_path / "page.html").as_uri(),
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for view in ("tokens", "next", "attention", "memory", "lens", "experts"):
        there = {
            "attention": bool(found.attention),
            "memory": bool(found.carried),
            "experts": bool(found.routing),
        }.get(view, True)
        assert page.locator(f"#view-{view} .stage").count() >= there
        assert (page.locator(f"#view-{view}").count() == 1) == there
    for place in (2, len(found.tokens) - 2):
        slide(page, "next", "Token", place)
        wanted = found.predictions[place]
        first = page.locator("#view-next .bars li b").first.get_attribute("title")
        assert first == wanted.candidates[0].token
        said = page.locator("#view-next .bars li.said b").get_attribute("title")
        assert said == wanted.actual.token
        assert page.locator("#view-tokens .token.on").get_attribute("data-place") == str(place)
    tokens = page.locator("#view-tokens .token")
    assert tokens.count() == len(found.tokens)
    tokens.nth(3).hover()
    nats, bits = re.search(r"(\S+) nats = (\S+) bits", page.locator("#tip").inner_text()).groups()
    assert float(nats) == pytest.approx(found.surprisals[3], rel=1e-3)
    assert float(bits) == pytest.approx(found.surprisals[3] / np.log(2), rel=1e-3)
    cells = page.locator("#view-lens tbody tr").last.locator("td")
    assert found.names[str(found.lens[-1].best[1, 0])] in cells.nth(1).get_attribute("aria-label")


@pytest.mark.browser
@pytest.mark.parametrize("name", ["decoder", "encoder"])
def test_layer_and_head_sliders_show_that_head(tmp_path, request, name):
    page_of = request.getfixturevalue("open_page")
    found = explain_text(make_reader(name), TEXT)
    write_page(found, tmp_path / "page.html")
    page = page_of((tmp_path / "page.html").as_uri())
    for layer, head in [(0, 0), (1, 3)]:
        slide(page, "attention", "Layer", layer)
        slide(page, "attention", "Head", head)
        weights = found.attention[layer].heads[head].weights
        for i, (row, shown) in enumerate(zip(weights, numbers(page, "attention"), strict=True)):
            for j, (weight, text) in enumerate(zip(row, shown, strict=True)):
                if found.ahead and j > i:
                    assert "masked" in text
                    continue
                value = float(text.split("weight ")[1].split(" =")[0].replace("·10^−", "e-"))
                assert value == pytest.approx(float(weight), abs=1e-4)
        pressed = page.locator("#view-attention .overview button[aria-pressed=true]")
        assert pressed.get_attribute("aria-label") == f"layer {layer + 1}, head {head + 1}"


@pytest.mark.browser
def test_a_load_of_experts_can_be_chosen_and_a_long_text_opens(tmp_path, request):
    page_of = request.getfixturevalue("open_page")
    found = explain_text(make_reader("experts"), TEXT * 3)
    write_page(found, tmp_path / "page.html")
    page = page_of((tmp_path / "page.html").as_uri())
    layer_slider, expert_slider = page.locator("#view-experts input[type=range]").all()
    layer_slider.fill("1")
    for expert in range(4):
        expert_slider.fill(str(expert))
        taken = int((found.routing[1].gates[:, expert] > 0).sum())
        said = page.locator("#view-experts .caption").inner_text()
        assert f"took {taken} of {len(found.tokens)} tokens" in said
        shaded = page.locator("#view-experts .token[style*=background]")
        assert shaded.count() == taken
    assert page.locator("#view-attention .strip canvas").count() == 1

"""The page in a real browser: it opens, it moves, nothing is fetched, nothing complains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from explain_models import make_explanation
from test_explain_page import HOSTILE

from peluche.reporting.page import write_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "explain.html"
    write_page(make_explanation(), path)
    return path.as_uri()


@pytest.fixture
def open_page(browser):
    """Opens an address; when the test ends, nothing may have been fetched or complained about."""
    opened, requests, complaints = [], [], []

    def open_(address: str, **options):
        # Smooth scrolling takes its time on a busy machine.
        page = browser.new_page(reduced_motion="reduce", **options)
        opened.append(address)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(address)
        return page

    yield open_
    assert complaints == []
    assert requests == opened


def slide(page, view: str, label: str, value: int) -> None:
    """Move a slider as a hand does: set it and tell the page."""
    page.locator(f"#view-{view}").get_by_label(label, exact=False).first.evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


def numbers(page, view: str) -> list[list[str]]:
    """The matrix that a view shows, as a screen reader has it."""
    return page.locator(f"#view-{view} table.matrix tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.ariaLabel))"
    )


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_and_fits(open_page, address, width, scheme):
    page = open_page(address, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for view in ("embedding", "encoder", "memory", "step", "decoder", "beam", "alignment"):
        assert page.locator(f"#view-{view} .stage").first.bounding_box()["height"] > 100
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(21, 23, 27)") == (scheme == "dark")


def test_layer_and_head_sliders_show_that_head(open_page, address):
    page = open_page(address)
    for layer, head in [(0, 0), (1, 0), (1, 3)]:
        slide(page, "encoder", "Layer", layer)
        slide(page, "encoder", "Head", head)
        weights = make_explanation().encoder.layers[layer].self_attention[head].weights
        for row, shown in zip(weights, numbers(page, "encoder"), strict=True):
            for weight, text in zip(row, shown, strict=True):
                value = float(text.split("weight ")[1].split(" =")[0].replace("·10^−", "e-"))
                assert value == pytest.approx(float(weight), rel=0.1, abs=1e-4)
        pressed = page.locator("#view-encoder .overview button[aria-pressed=true]")
        assert pressed.get_attribute("aria-label") == f"layer {layer + 1}, head {head + 1}"


def test_the_stage_slider_walks_through_the_arithmetic(open_page, address):
    page = open_page(address)
    seen = []
    for stage in range(5):
        slide(page, "encoder", "Stage", stage)
        seen.append(page.locator("#view-encoder .stage").inner_text())
        marked = page.locator("#view-encoder .chain li.on")
        assert marked.count() == 1
        assert marked.evaluate("node => [...node.parentNode.children].indexOf(node)") == stage
    assert len(set(seen)) == 5
    assert page.locator("#view-encoder canvas[role=img]").count() == 2


def test_the_arithmetic_of_a_pair_is_right(open_page, address):
    page = open_page(address)
    slide(page, "encoder", "Stage", 1)
    page.locator("#view-encoder table.matrix tbody tr").nth(2).locator("td").nth(4).hover()
    head = make_explanation().encoder.layers[0].self_attention[0]
    product, score, weight = (m[2, 4] for m in (head.products, head.scores, head.weights))
    text = page.locator("#view-encoder .chain").inner_text().replace("−", "-")
    assert f"= {product:.4g}" in text.replace("\u00a0", " ")
    assert f"÷ √8 = {score:.4g}" in text
    assert f"{100 * weight:.1f}\u202f%" in text
    assert "q · k = " in page.locator("#tip").inner_text()


def test_steps_change_what_is_chosen(open_page, address):
    page = open_page(address)
    explanation = make_explanation()
    for number, step in enumerate(explanation.steps):
        slide(page, "step", "Step", number)
        said = page.locator("#view-step .bars li.said b").inner_text()
        assert said == step.chosen.token
        first = page.locator("#view-step .bars li").first.locator("span").last.inner_text()
        expected = step.candidates[0].probability
        assert float(first.split("\u202f")[0]) == pytest.approx(100 * expected, abs=0.06)
        rows = page.locator("#view-decoder tr.later").count()
        assert rows == len(explanation.steps) - number - 1
    page.locator("#view-step").get_by_text("← Back").click()
    assert page.locator("#view-decoder tr.later").count() == 1


def test_masked_cells_are_shown_as_masked(open_page, address):
    page = open_page(address)
    page.locator("#view-decoder").get_by_text("Masked self-attention", exact=True).click()
    shown = numbers(page, "decoder")
    for row, cells in enumerate(shown):
        assert ["masked" in text for text in cells] == [key > row for key in range(len(shown))]
    # The sentence bar shows the attention of the section in view, once scrolling has ended.
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator("#bar-source .chip[style*=background]")).to_have_count(0)
    expect(page.locator("#bar-target .chip[style*=background]")).to_have_count(len(shown))


def test_the_keyboard_moves_through_cells_and_sliders(open_page, address):
    page = open_page(address)
    cell = page.locator("#view-encoder table.matrix td.on")
    cell.focus()
    before = page.locator("#view-encoder .chain").get_attribute("data-key")
    page.keyboard.press("ArrowLeft" if before != "0" else "ArrowRight")
    after = page.locator("#view-encoder .chain").get_attribute("data-key")
    assert abs(int(after) - int(before)) == 1
    page.locator("#view-encoder input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    output = page.locator("#view-encoder output").first
    assert output.inner_text() == "2 of 2"
    for slider in page.locator("input[type=range]").all():
        assert slider.evaluate("input => input.labels.length") == 1


def test_the_beam_tree_marks_the_best_path(open_page, address):
    page = open_page(address)
    nodes = make_explanation().beam.nodes
    assert page.locator("#view-beam .node").count() == len(nodes)
    assert page.locator("#view-beam .node.best").count() == sum(node.best for node in nodes)
    page.locator("#view-beam .node.dropped").first.dispatch_event("click")
    assert "log-probability" in page.locator("#view-beam .readout").inner_text()
    page.locator("#view-beam .node[tabindex='0']").focus()
    page.keyboard.press("ArrowLeft")
    parent = page.locator("#view-beam .node.on")
    assert parent.get_attribute("class").split()[1] == "alive"
    rows = page.locator("#view-beam table.results tbody tr")
    assert rows.count() == sum(node.state == "finished" for node in nodes)
    assert rows.first.get_attribute("class") == "best"


def test_the_alignment_shows_words_of_the_chosen_layer(open_page, address):
    page = open_page(address)
    explanation = make_explanation()
    for layer, matrix in enumerate(explanation.alignment):
        slide(page, "alignment", "Layer", layer)
        shown = numbers(page, "alignment")
        assert len(shown) == len(explanation.target.words)
        for row, cells in zip(matrix, shown, strict=True):
            assert f"{100 * row[0]:.1f}\u202f%" in cells[0] or row[0] < 0.0005 or row[0] > 0.9995
    words = page.locator("#view-alignment svg text.source > title").all_text_contents()
    assert words == list(explanation.source.words)


def test_a_hostile_sentence_does_nothing(open_page, tmp_path: Path):
    path = tmp_path / "hostile.html"
    write_page(make_explanation(HOSTILE), path)
    page = open_page(path.as_uri())
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.locator("main img").count() == 0
    assert page.locator("script").count() == 2


def test_printing_shows_everything_in_ink(open_page, address):
    page = open_page(address, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert not page.locator("#bar").is_visible()
    assert page.locator("#view-beam svg").is_visible()


def test_the_numbers_in_the_page_can_be_read_by_a_program(open_page, address):
    page = open_page(address)
    record = json.loads(page.locator("#data").text_content())
    assert record["target"]["text"] == make_explanation().target.text

"""The page as text: whole, inert, and not too large."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from explain_models import SHORT, make_explanation, make_model, make_tokenizer

from peluche.generation.config import DecodingConfig
from peluche.reporting.explain import explain
from peluche.reporting.page import render_page, write_page

HOSTILE = "</script><script>alert(1)</script>&<img onerror=x>{{7}}"


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data


def test_the_page_holds_the_same_numbers_as_the_json():
    explanation = make_explanation()
    data, _ = Elements(render_page(explanation)).scripts
    assert json.loads(data) == json.loads(json.dumps(explanation.as_json()))


def test_the_page_names_nothing_outside_itself():
    page = render_page(make_explanation())
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page
    assert "url(" not in page
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG, not a place
    assert "default-src 'none'" in page


def test_a_hostile_sentence_is_text():
    hostile, plain = (Elements(render_page(make_explanation(s))) for s in (HOSTILE, "A bear."))
    assert len(hostile.scripts) == len(plain.scripts) == 2
    assert {tag for tag, _ in hostile.found} == {tag for tag, _ in plain.found} | {"em"}
    assert not any(name.startswith("on") for _, attrs in hostile.found for name in attrs)
    assert json.loads(hostile.scripts[0])["source"]["text"] == HOSTILE


def test_unknown_pieces_are_marked():
    assert 'class="unknown"' not in render_page(make_explanation("A bear."))
    assert 'class="unknown"' in render_page(make_explanation("A bear Ω."))


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": positions}
        for positions in ("sinusoidal", "learned", "rope", "alibi", "relative", "none")
    ]
    + [{"activation": activation} for activation in ("relu", "gelu", "relu2", "swiglu", "geglu")]
    + [{"norm_placement": "post"}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_every_kind_of_model_has_a_page(changes, kind):
    tokenizer = make_tokenizer(kind)
    model = make_model(len(tokenizer), d_model=16, layers=1, heads=2, d_ff=16, **changes)
    assert "</html>" in render_page(explain(model, tokenizer, "A bear.", decoding=SHORT))


@pytest.mark.parametrize(
    ("decoding", "says", "says_not"),
    [
        (SHORT, "keeps the\n  3 best beginnings", "one beam"),
        (SHORT.model_copy(update={"length_penalty": 0.0}), "log-probabilities. The best", "Here α"),
        (SHORT.model_copy(update={"length_normalization": "gnmt"}), "a measure of its", "one beam"),
        (SHORT.model_copy(update={"beams": 1}), "one beam", "Here α"),
    ],
)
def test_the_search_is_told_as_it_was(decoding, says, says_not):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), d_model=16, layers=1, heads=2, d_ff=16)
    page = render_page(explain(model, tokenizer, "A bear.", decoding=decoding))
    assert says in page
    assert says_not not in page


def test_ten_tokens_through_a_usual_model_are_less_than_3_mb(tmp_path):
    tokenizer = make_tokenizer("word")
    model = make_model(len(tokenizer), d_model=256, layers=3, heads=8, d_ff=1024)
    sentence = "A cute teddy bear is reading. A cute bear"
    decoding = DecodingConfig(max_length_factor=0, max_length_offset=10)
    explanation = explain(model, tokenizer, sentence, decoding=decoding)
    assert (len(explanation.source.tokens), len(explanation.target.tokens)) == (11, 11)
    path = tmp_path / "new" / "page.html"
    write_page(explanation, path)
    assert 500_000 < path.stat().st_size < 3_000_000

"""One self-contained page that steps through word2vec."""

from __future__ import annotations

import peluche
from peluche.reporting.explain_words import WordExplanation
from peluche.reporting.figures import SIGNED, as_data_address
from peluche.reporting.rendering import assets, environment
from peluche.reporting.word_pictures import draw_map, draw_similarity


def render_word_page(explanation: WordExplanation) -> str:
    """The page as HTML: styles and pictures inside, no script, nothing fetched."""
    templates = environment()
    largest = max(abs(step.hidden).max() for step in explanation.steps)
    templates.filters |= {
        "word": lambda word: word.replace("_", " "),
        "colour": lambda value: _colour(value / largest if largest else 0.0),
    }
    return templates.get_template("explain_words.html.j2").render(
        **vars(explanation),
        similarity=as_data_address(draw_similarity(explanation)),
        map=as_data_address(draw_map(explanation)),
        version=peluche.__version__,
        style=assets("base.css", "explain_words.css"),
    )


def _colour(value: float) -> str:
    """Of a number in −1..1, on the scale of the pictures."""
    red, green, blue, _ = SIGNED((value + 1) / 2, bytes=True)
    return f"rgb({red} {green} {blue})"

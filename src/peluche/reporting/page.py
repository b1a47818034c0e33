"""One self-contained HTML page about a sentence's way through a model."""

from __future__ import annotations

from pathlib import Path

import peluche
from peluche import files
from peluche.reporting.explain_recurrent import RecurrentExplanation
from peluche.reporting.explain_words import WordExplanation
from peluche.reporting.explanation import Explanation
from peluche.reporting.rendering import assets, environment, inert_json
from peluche.reporting.text_explanation import TextExplanation
from peluche.reporting.text_page import render_text_page

AnyExplanation = Explanation | RecurrentExplanation | WordExplanation | TextExplanation

_SECTIONS = [
    ("tokens", "Tokens and ids"),
    ("embedding", "Embedding and position"),
    ("encoder", "The encoder looks around"),
    ("memory", "What the encoder hands over"),
    ("decoding", "One token at a time"),
    ("beam", "Keeping several beginnings"),
    ("alignment", "Which word came from where"),
]
_ACTIVATIONS = {
    "relu": "ReLU",
    "gelu": "GELU",
    "relu2": "ReLU²",
    "swiglu": "SwiGLU",
    "geglu": "GeGLU",
}


_RECURRENT_SECTIONS = [
    ("tokens", "Tokens and ids"),
    ("reading", "Reading, word by word"),
    ("writing", "One token at a time"),
    ("carried", "What the decoder carries along"),
    ("beam", "Keeping several beginnings"),
]
_CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def render_page(explanation: AnyExplanation) -> str:
    """The page as HTML: styles, script and numbers inside, nothing fetched."""
    if isinstance(explanation, TextExplanation):
        return render_text_page(explanation)
    if isinstance(explanation, WordExplanation):
        # Drawing takes long to import, and the other pages draw themselves.
        from peluche.reporting.word_page import render_word_page

        return render_word_page(explanation)
    templates = environment()
    if isinstance(explanation, RecurrentExplanation):
        alignment = [("alignment", "Which word came from where")] if explanation.alignment else []
        return templates.get_template("explain_recurrent.html.j2").render(
            **vars(explanation),
            cell=_CELLS[explanation.model.cell],
            sections=[*_RECURRENT_SECTIONS, *alignment],
            version=peluche.__version__,
            style=assets("base.css", "explain.css"),
            script=assets("figures.js", "carried.js", "explain_recurrent.js"),
            data=inert_json(explanation.as_json()),
        )
    return templates.get_template("explain.html.j2").render(
        **vars(explanation),
        sections=_SECTIONS,
        activation=_ACTIVATIONS[explanation.model.activation],
        version=peluche.__version__,
        style=assets("base.css", "explain.css"),
        script=assets("figures.js", "explain.js"),
        formulas=templates.get_template("formulas.html.j2").module,
        data=inert_json(explanation.as_json()),
    )


def write_page(explanation: AnyExplanation, path: Path) -> None:
    """Write the page, with its folder."""
    files.write_text(path, render_page(explanation))

"""One self-contained HTML page about a sentence's way through a model."""

from __future__ import annotations

import json
from pathlib import Path

from markupsafe import Markup, escape

import peluche
from peluche import files
from peluche.reporting.explain_recurrent import RecurrentExplanation
from peluche.reporting.explanation import Explanation
from peluche.reporting.rendering import assets, environment

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


def render_page(explanation: Explanation | RecurrentExplanation) -> str:
    """The page as HTML: styles, script and numbers inside, nothing fetched."""
    templates = environment()
    templates.filters["piece"] = _piece
    if isinstance(explanation, RecurrentExplanation):
        alignment = [("alignment", "Which word came from where")] if explanation.alignment else []
        return templates.get_template("explain_recurrent.html.j2").render(
            **vars(explanation),
            cell=_CELLS[explanation.model.cell],
            sections=[*_RECURRENT_SECTIONS, *alignment],
            version=peluche.__version__,
            style=assets("base.css", "explain.css"),
            script=assets("figures.js", "explain_recurrent.js"),
            data=_inert_json(explanation),
        )
    return templates.get_template("explain.html.j2").render(
        **vars(explanation),
        sections=_SECTIONS,
        activation=_ACTIVATIONS[explanation.model.activation],
        version=peluche.__version__,
        style=assets("base.css", "explain.css"),
        script=assets("figures.js", "explain.js"),
        formulas=templates.get_template("formulas.html.j2").module,
        data=_inert_json(explanation),
    )


def write_page(explanation: Explanation | RecurrentExplanation, path: Path) -> None:
    """Write the page, with its folder."""
    files.write_text(path, render_page(explanation))


def _piece(text: str) -> Markup:
    """A token with its space marks toned down."""
    mark = Markup('<span class="space">▁</span>')
    return mark.join(escape(part) for part in text.split("▁"))


def _inert_json(explanation: Explanation | RecurrentExplanation) -> Markup:
    """JSON that cannot end the script element it stands in, whatever the sentence says."""
    text = json.dumps(explanation.as_json(), separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))

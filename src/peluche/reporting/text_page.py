"""One self-contained page about a text's way through a language model or an encoder."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np

import peluche
from peluche.reporting.explanation import Matrix
from peluche.reporting.rendering import assets, environment, inert_json
from peluche.reporting.text_explanation import TextExplanation

_FAMILIES = {
    "decoder": "a decoder",
    "encoder": "an encoder",
    "recurrent_lm": "a recurrent language model",
    "state_space_lm": "a state space model",
}


def render_text_page(explanation: TextExplanation) -> str:
    """The page as HTML: styles, script and numbers inside, nothing fetched."""
    ahead = explanation.ahead
    sections = {
        "tokens": "The text, by surprisal" if explanation.predictions else "The text",
        "next": explanation.predictions and ("What comes next" if ahead else "What stands there"),
        "attention": explanation.attention and "Where each head looks",
        "memory": explanation.carried and "What is carried along",
        "lens": explanation.lens and "What each layer would say",
        "experts": explanation.routing and "Which expert takes which token",
    }
    return (
        environment()
        .get_template("explain_text.html.j2")
        .render(
            **vars(explanation),
            notes=explanation.notes,
            family=_FAMILIES[explanation.model.kind],
            sections=[(name, title) for name, title in sections.items() if title],
            version=peluche.__version__,
            style=assets("base.css", "explain.css", "explain_text.css"),
            script=assets("figures.js", "carried.js", "explain_text.js"),
            data=inert_json(_packed(explanation)),
        )
    )


def _packed(explanation: TextExplanation) -> dict[str, Any]:
    """The numbers of `as_json`, attention as text: there may be a million weights."""
    values = replace(explanation, attention=()).as_json()
    values["notes"] = explanation.notes
    values["attention"] = [
        {
            "layer": layer.layer,
            "heads": [
                {"head": head.head, "weights": pack(head.weights, explanation.ahead == 1)}
                for head in layer.heads
            ],
        }
        for layer in explanation.attention
    ]
    return values


def pack(weights: Matrix, causal: bool) -> str:
    """Numbers in 0..1 as 16-bit fractions of one, so to 1e-5, little-endian, in base64.

    Args:
        weights: (tokens, tokens), row after row.
        causal: leave out what stands right of the diagonal.
    """
    numbers = weights[np.tril_indices(len(weights))] if causal else weights.ravel()
    return base64.b64encode(np.rint(numbers * 65535).astype("<u2").tobytes()).decode()

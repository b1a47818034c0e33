"""Heat maps of a sentence's way through a model, as PNG and SVG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from peluche.reporting.explain_recurrent import RecurrentExplanation
from peluche.reporting.explain_words import WordExplanation
from peluche.reporting.explanation import Head, Stack, Token
from peluche.reporting.figures import SIGNED, save_figures
from peluche.reporting.page import AnyExplanation
from peluche.reporting.panels import draw_panels, draw_signals, name_rows
from peluche.reporting.text_explanation import TextExplanation
from peluche.reporting.text_pictures import draw_text_pictures
from peluche.reporting.word_pictures import draw_word_pictures


def write_pictures(explanation: AnyExplanation, folder: Path) -> list[Path]:
    """Write every picture of `draw_pictures` as PNG and SVG; returns the files."""
    return save_figures(draw_pictures(explanation), folder)


def draw_pictures(explanation: AnyExplanation) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each: the encoder's input, attention per layer, and the alignment.

    Of a recurrent model: what each layer carries, and the alignment if there is attention. Of
    word vectors and of language models, see `draw_word_pictures` and `draw_text_pictures`.
    """
    if isinstance(explanation, WordExplanation):
        yield from draw_word_pictures(explanation)
        return
    if isinstance(explanation, TextExplanation):
        yield from draw_text_pictures(explanation)
        return
    if isinstance(explanation, RecurrentExplanation):
        yield from _draw_recurrent(explanation)
        return
    encoder, decoder = explanation.encoder, explanation.decoder
    yield "embedding-and-position", _draw_input(encoder)
    for number, layer in enumerate(encoder.layers, start=1):
        heads = layer.self_attention
        title = f"Encoder self-attention, layer {number}"
        figure = _draw_heads(title, heads, encoder.tokens, encoder.tokens)
        yield f"encoder-layer-{number}", figure
    for number, layer in enumerate(decoder.layers, start=1):
        heads = layer.self_attention
        title = f"Masked self-attention, layer {number}"
        figure = _draw_heads(title, heads, decoder.tokens, decoder.tokens)
        yield f"decoder-layer-{number}-self", figure
        title = f"Cross-attention, layer {number}"
        figure = _draw_heads(title, layer.cross_attention or (), decoder.tokens, encoder.tokens)
        yield f"decoder-layer-{number}-cross", figure
    yield (
        "alignment",
        draw_panels(
            "Cross-attention between words, mean of heads",
            {f"layer {n}": matrix for n, matrix in enumerate(explanation.alignment, start=1)},
            explanation.target.words,
            explanation.source.words,
        ),
    )


def _draw_recurrent(explanation: RecurrentExplanation) -> Iterator[tuple[str, Figure]]:
    sides = (
        ("encoder", explanation.encoder, explanation.source.tokens),
        ("decoder", explanation.decoder, explanation.written),
    )
    for side, layers, tokens in sides:
        for layer in layers:
            title = f"{side.capitalize()}, layer {layer.layer + 1}, {layer.direction}"
            yield (
                f"{side}-layer-{layer.layer + 1}-{layer.direction}",
                draw_signals(title, layer, [token.text for token in tokens]),
            )
    if explanation.alignment:
        yield (
            "alignment",
            draw_panels(
                "Attention between words",
                {explanation.model.attention: explanation.alignment[0]},
                explanation.target.words,
                explanation.source.words,
            ),
        )


def _draw_input(stack: Stack) -> Figure:
    parts = {"Embedding, times √d": stack.embedding}
    if stack.positions is not None:
        parts |= {"Position": stack.positions, "Sum": stack.input}
    if stack.turns is not None:
        parts["Position: cosine of the angle that turns each pair of a head's features"] = (
            stack.turns
        )
    figure = Figure((9, (0.7 + 0.2 * len(stack.tokens)) * len(parts)), layout="constrained")
    grid = figure.subplots(len(parts), squeeze=False)
    limit = max(float(np.abs(matrix).max()) for matrix in parts.values())
    for axes, (title, matrix) in zip(grid.flat, parts.items(), strict=True):
        image = axes.imshow(
            matrix, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        axes.set_title(title, loc="left", fontsize=10)
        name_rows(axes, [token.text for token in stack.tokens])
    axes.set_xlabel("feature")
    figure.colorbar(image, ax=grid, shrink=0.5, aspect=30)
    return figure


def _draw_heads(
    title: str, heads: Sequence[Head], rows: Sequence[Token], columns: Sequence[Token]
) -> Figure:
    return draw_panels(
        title,
        {f"head {number}": head.weights for number, head in enumerate(heads, start=1)},
        [token.text for token in rows],
        [token.text for token in columns],
    )

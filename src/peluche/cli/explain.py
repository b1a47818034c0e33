"""`peluche explain`: one sentence's way through a model, as a page, as pictures or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    from peluche.tasks.word_vectors import WordVectors


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    run: Annotated[str, Argument(help="A run directory, or the name of one in ./runs.")],
    sentence: Annotated[str, Argument(help="The sentence to follow, in quotes.")],
    output: Annotated[
        Path | None, Option(help="The page to write; report/explain.html in the run unless given.")
    ] = None,
    as_json: Annotated[
        bool, Option("--json", help="Print the numbers as one JSON object; no page.")
    ] = False,
    pictures: Annotated[
        Path | None, Option(help="Folder to write heat maps to as well, as PNG and SVG.")
    ] = None,
    beams: Annotated[
        int | None, Option(help="Hypotheses that beam search follows; the run's unless given.")
    ] = None,
    weights: Annotated[str, Option(help="Which weights of the run: model, best, ...")] = "model",
) -> None:
    """Follow one sentence through a model, step by step, on one web page."""
    from peluche.cli.terminal import say
    from peluche.hub.resolve import resolve
    from peluche.reporting.explain import PAGE
    from peluche.reporting.explain import explain as follow
    from peluche.reporting.page import write_page
    from peluche.tasks.load import load_translator, load_vectors, task_of

    page = output or resolve(run).report_path / PAGE
    if task_of(resolve(run)) == "word_vectors":
        _explain_words(load_vectors(run, weights=weights), sentence, as_json, pictures, page)
        return
    translator = load_translator(run, weights=weights)
    decoding = translator.options(beams=beams)
    explanation = follow(translator.model, translator.tokenizer, sentence, decoding=decoding)
    if pictures is not None:
        from peluche.reporting.pictures import write_pictures

        written = write_pictures(explanation, pictures)
        say(f"{len(written)} pictures are in {pictures}")
    if as_json:
        print(json.dumps(explanation.as_json(), ensure_ascii=False))
        return
    write_page(explanation, page)
    say(f"'{explanation.target.text}': open this page in a browser")
    print(page)


def _explain_words(
    vectors: WordVectors, sentence: str, as_json: bool, pictures: Path | None, page: Path
) -> None:
    """The same for word2vec, whose pictures are of the words of the sentence."""
    from peluche.cli.terminal import say
    from peluche.reporting.explain_words import explain_words
    from peluche.reporting.figures import save_figures
    from peluche.reporting.word_page import write_word_page
    from peluche.reporting.word_pictures import draw_word_pictures

    explanation = explain_words(vectors, sentence)
    if pictures is not None:
        written = save_figures(draw_word_pictures(explanation), pictures)
        say(f"{len(written)} pictures are in {pictures}")
    if as_json:
        print(json.dumps(explanation.as_json(), ensure_ascii=False))
        return
    write_word_page(explanation, page)
    say("open this page in a browser")
    print(page)

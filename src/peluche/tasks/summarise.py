"""Summarisation: a text in, a short one that says what it is about out."""

from __future__ import annotations

from peluche.tasks.translate import Translator


class Summariser(Translator):
    """A `Translator` whose target is a summary, measured by ROUGE (Lin 2004)."""

    metrics = ("rouge1", "rouge2", "rougeL")

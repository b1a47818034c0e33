"""The built-in corpus: a controlled English-French language with held-out compositions."""

from peluche.data.builtin.corpus import SPLITS, Example, examples, generate
from peluche.data.builtin.heldout import Composition, is_held_out

__all__ = ["SPLITS", "Composition", "Example", "examples", "generate", "is_held_out"]

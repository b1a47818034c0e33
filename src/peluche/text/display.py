"""Tokenizers at work, written out for a terminal: pieces over their ids, and a table of figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from peluche.text.pieces import Piece
from peluche.text.pipelines import MARK
from peluche.text.statistics import TokenizerStatistics
from peluche.text.tokenizer import Tokenizer

COLOURS = ("cyan", "yellow")
UNKNOWN_COLOUR = "bold white on red"


def visible(piece: Piece) -> str:
    """A piece without invisible characters: spaces as ▁, others escaped; ⟨…⟩ means unknown."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in piece.text.replace(" ", MARK)
    )
    return f"⟨{shown}⟩" if piece.unknown else shown


def lines(pieces: Iterable[Piece], width: int) -> list[Text]:
    """Pairs of lines at most `width` columns wide: pieces in alternating colours, ids beneath.

    A piece that is wider than that has a pair of lines to itself.
    """
    pairs = [(Text(), Text())]
    for number, piece in enumerate(pieces):
        shown, name = visible(piece), str(piece.id)
        cells = max(cell_len(shown), len(name))
        if pairs[-1][0].cell_len + cells > width and pairs[-1][0]:
            pairs.append((Text(), Text()))
        above, beneath = pairs[-1]
        colour = UNKNOWN_COLOUR if piece.unknown else COLOURS[number % len(COLOURS)]
        above.append(shown, colour).append(" " * (cells - cell_len(shown) + 1))
        beneath.append(name.ljust(cells + 1), "dim")
    written = [line for pair in pairs for line in pair]
    for line in written:
        line.rstrip()
    return written


def block(tokenizer: Tokenizer, text: str, width: int) -> Text:
    """One tokenizer's cutting of one text under a heading, with an empty line at the end."""
    pieces = tokenizer.pieces(text)
    unknown = sum(piece.unknown for piece in pieces)
    heading = Text().append(tokenizer.kind, "bold")
    heading.append(f"  {tokenizer.vocab_size:,} entries, {len(pieces)} tokens", "dim")
    if unknown:
        heading.append(f", {unknown} unknown ⟨…⟩", "dim")
    return Text("\n").join([heading, *lines(pieces, width), Text()])


def as_json(tokenizer: Tokenizer, text: str) -> dict[str, Any]:
    """One tokenizer's cutting of one text as plain values."""
    return {
        "text": text,
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "pieces": [piece._asdict() for piece in tokenizer.pieces(text)],
    }


def table(rows: Sequence[TokenizerStatistics]) -> str:
    """Statistics of several tokenizers, one a line, under a heading."""
    first = rows[0]
    heading = (
        f"{first.texts:,} held-out lines, {first.words:,} words\n\n"
        "kind       vocabulary  tokens/word  unknown %  tokens/line  characters/token"
    )
    return "\n".join(
        [heading]
        + [
            f"{row.kind:<9}  {row.vocab_size:>10,}  {row.fertility:>11.2f}  "
            f"{100 * row.unknown_rate:>9.2f}  {row.mean_length:>11.1f}  "
            f"{row.characters_per_token:>16.2f}"
            for row in rows
        ]
    )

"""Figures of tokenizers, and how they are shown."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from peluche.errors import DataError
from peluche.text.display import as_json, block, lines, table, visible
from peluche.text.pieces import Piece
from peluche.text.statistics import hold_out, measure
from peluche.text.tokenizer import TokenizerConfig

WORDS = TokenizerConfig(kind="word").build(["a cute bear", "a bear"])
BYTES = TokenizerConfig(kind="byte").build([])


def test_figures_of_words() -> None:
    found = measure(WORDS, ["a cute bear.", "a bear"])
    assert (found.texts, found.words, found.characters) == (2, 5, 18)
    assert (found.tokens, found.unknown) == (6, 1)
    assert found.fertility == 6 / 5
    assert found.unknown_rate == 1 / 6
    assert found.mean_length == 3
    assert found.characters_per_token == 3
    assert found.vocab_size == len(WORDS) == 7
    assert found.as_json()["fertility"] == found.fertility


def test_figures_of_bytes() -> None:
    found = measure(BYTES, ["été"])
    assert (found.characters, found.tokens, found.unknown) == (3, 5, 0)


def test_more_texts_than_one_batch() -> None:
    assert measure(BYTES, iter(["ab"] * 2500)).tokens == 5000


def test_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="no text to measure"):
        measure(WORDS, ["", "  "])


def test_every_tenth_is_held_out() -> None:
    texts = [str(number) for number in range(1, 26)]
    learn_from, held_out = hold_out(texts)
    assert held_out == ["10", "20"]
    assert sorted([*learn_from, *held_out]) == sorted(texts)
    with pytest.raises(DataError, match="9 lines are too few"):
        hold_out(texts[:9])


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        (Piece(" ", 5, 0, 1, unknown=False), "▁"),
        (Piece("▁bear", 5, 0, 5, unknown=False), "▁bear"),
        (Piece(" ours\n", 1, 0, 6, unknown=True), "⟨▁ours\\n⟩"),
        (Piece("\x1b", 5, 0, 1, unknown=False), "\\x1b"),
    ],
)
def test_invisible_characters_are_shown(piece: Piece, shown: str) -> None:
    assert visible(piece) == shown


def test_pieces_stand_over_their_ids() -> None:
    above, beneath = lines(WORDS.pieces("a cute bear"), width=80)
    assert above.plain == "▁a ▁cute ▁bear"
    ids = [f"{number}" for number in WORDS.encode("a cute bear")]
    assert beneath.plain == f"{ids[0]:<3}{ids[1]:<6}{ids[2]}"
    colours = [span.style for span in above.spans]
    assert colours[0] != colours[1]
    assert colours[0] == colours[2]


def test_lines_are_no_wider_than_the_terminal() -> None:
    written = lines(BYTES.pieces("Ein Bär, 熊熊熊, 🧸" * 9), width=40)
    assert len(written) > 2
    assert max(cell_len(line.plain) for line in written) <= 40
    shown = "".join(line.plain for line in written[::2]).replace(" ", "")
    assert shown.startswith("Ein▁B<0xC3><0xA4>r,")


def test_a_piece_wider_than_the_terminal_has_its_own_line() -> None:
    pieces = [Piece("x" * 50, 5, 0, 50, unknown=False), Piece("y", 6, 50, 51, unknown=False)]
    assert [line.plain for line in lines(pieces, width=20)] == ["x" * 50, "5", "y", "6"]


def test_block_counts_unknown_pieces() -> None:
    written = block(WORDS, "a red bear", width=80).plain.splitlines()
    assert written[0] == "word  7 entries, 3 tokens, 1 unknown ⟨…⟩"
    assert written[1] == "▁a ⟨▁red⟩ ▁bear"
    assert block(WORDS, "a bear", width=80).plain.splitlines()[0] == "word  7 entries, 2 tokens"


def test_empty_text_has_an_empty_block() -> None:
    assert block(WORDS, "", width=80).plain.splitlines()[0] == "word  7 entries, 0 tokens"


def test_json_has_the_places() -> None:
    assert as_json(WORDS, "a red")["pieces"][1] == {
        "text": " red",
        "id": 1,
        "start": 1,
        "end": 5,
        "unknown": True,
    }


def test_table_lines_up() -> None:
    written = table([measure(WORDS, ["a red bear"]), measure(BYTES, ["a red bear"])]).splitlines()
    heading, words, in_bytes = written[-3:]
    assert len(heading) == len(words) == len(in_bytes)
    assert words.split() == ["word", "7", "1.00", "33.33", "3.0", "3.33"]
    assert in_bytes.split() == ["byte", "260", "3.33", "0.00", "10.0", "1.00"]

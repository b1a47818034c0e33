"""SentencePiece's vocabularies of merges, as GGUF files keep them: pieces and their scores.

Text is cut into characters, and of all neighbours that make a piece together the one of the
highest score is merged first (Kudo & Richardson 2018, arXiv 1808.06226, §3.1). What is left and is
no piece is spelt in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, normalizers

from peluche.errors import CheckpointError, ConfigError

# Stands for a space.
SPACE = "\u2581"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def build_sentencepiece(
    pieces: Sequence[str],
    scores: Sequence[float],
    closed: Collection[str],
    unknown: str | None,
    *,
    prefix: bool,
    where: object,
) -> Rust:
    """The pipeline of such a vocabulary.

    Args:
        pieces: by id.
        scores: of each piece.
        closed: pieces that nothing is merged into.
        unknown: what stands for characters that cannot be spelt.
        prefix: whether a space is put before texts.
        where: it came from, for messages.

    Raises:
        CheckpointError: pieces and scores do not belong together.
        ConfigError: which of two pieces is merged first is left open.
    """
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    if len(vocabulary) < len(pieces) or len(scores) != len(pieces) or not all(pieces):
        raise CheckpointError(
            f"its tokenizer is damaged: {len(pieces):,} tokens, {len(vocabulary):,} of them "
            f"different, with {len(scores):,} scores",
            where=where,
            remedy="get the file again",
        )
    merges = _merges(vocabulary, scores, closed, where)
    rust = Rust(
        models.BPE(
            vocabulary,
            merges,
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=all(byte in vocabulary for byte in BYTES),
        )
    )
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", SPACE)]
    steps: list[decoders.Decoder] = [
        decoders.Replace(SPACE, " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
    ]
    if prefix:
        spaces.insert(0, normalizers.Prepend(SPACE))
        steps.append(decoders.Strip(" ", 1, 0))
    rust.normalizer = normalizers.Sequence(spaces)
    rust.decoder = decoders.Sequence(steps)
    return rust


def _merges(
    vocabulary: Mapping[str, int], scores: Sequence[float], closed: Collection[str], where: object
) -> list[tuple[str, str]]:
    """All pairs that make a piece, the first to be merged first."""
    found = []
    made: dict[float, str] = {}
    for piece, number in vocabulary.items():
        if piece in closed or len(piece) < 2:
            continue
        score = scores[number]
        # Of overlapping pairs that make the same piece, which is one and the same character or
        # two over and over, the first is that whose left part is the longest.
        pairs = [
            (piece[:cut], piece[cut:])
            for cut in range(len(piece) - 1, 0, -1)
            if piece[:cut] in vocabulary and piece[cut:] in vocabulary
        ]
        if not pairs:
            continue
        if math.isnan(score) or score in made:
            other = "" if math.isnan(score) else f", as '{made[score]}' does"
            raise ConfigError(
                f"this tokenizer has no equal here: '{piece}' has the score {score}{other}",
                where=where,
                remedy="give a Hugging Face folder of the model, or another model",
            )
        made[score] = piece
        found.append((score, pairs))
    found.sort(key=lambda entry: -entry[0])
    return [pair for _, pairs in found for pair in pairs]

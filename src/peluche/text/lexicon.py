"""Words and characters by number, for models of sentences whose words are given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field

from peluche import files
from peluche.config import Config
from peluche.errors import CheckpointError, DataError

PAD, UNKNOWN = 0, 1
RESERVED = 2
LONGEST_SPELLING = 32


class LexiconConfig(Config):
    """Which words are learnt.

    Attributes:
        min_count: words that are seen less often in training are unknown; models know them by
            their spelling alone.
        lowercase: words that differ by case alone are one (spellings keep their case).
    """

    min_count: int = Field(2, ge=1)
    lowercase: bool = True

    def build(self, sentences: Iterable[Sequence[str]]) -> Lexicon:
        """All words of sentences that occur often enough, and all characters.

        Raises:
            DataError: there is none.
        """
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        for tokens in sentences:
            words.update(token.lower() if self.lowercase else token for token in tokens)
            characters.update(character for token in tokens for character in token)
        if not words:
            raise DataError("there are no words to learn", remedy="give sentences with words")
        return Lexicon(
            [word for word, count in words.most_common() if count >= self.min_count],
            [character for character, _ in characters.most_common()],
            lowercase=self.lowercase,
        )


class Lexicon:
    """Numbers of words and of characters; 0 is padding, 1 what is unknown.

    Args:
        words: from number 2 on.
        characters: from number 2 on.
        lowercase: whether `words` are in lower case, and any case is to be found.
    """

    def __init__(self, words: Sequence[str], characters: Sequence[str], *, lowercase: bool) -> None:
        self.lowercase = lowercase
        self._words = {word: number for number, word in enumerate(words, RESERVED)}
        self._characters = {one: number for number, one in enumerate(characters, RESERVED)}

    @property
    def words(self) -> int:
        """How many numbers of words there are, reserved ones included."""
        return len(self._words) + RESERVED

    @property
    def characters(self) -> int:
        """How many numbers of characters there are, reserved ones included."""
        return len(self._characters) + RESERVED

    def by_number(self) -> dict[int, str]:
        """The words that are known."""
        return {number: word for word, number in self._words.items()}

    def word(self, token: str) -> int:
        """A word's number."""
        return self._words.get(token.lower() if self.lowercase else token, UNKNOWN)

    def spelling(self, token: str) -> list[int]:
        """Numbers of a word's characters; of a very long one, of both its ends."""
        if len(token) > LONGEST_SPELLING:
            half = LONGEST_SPELLING // 2
            token = token[:half] + token[-half:]
        return [self._characters.get(character, UNKNOWN) for character in token]

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        values = {
            "lowercase": self.lowercase,
            "words": list(self._words),
            "characters": list(self._characters),
        }
        files.write_text(path, json.dumps(values, ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CheckpointError: it is something else.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(values["words"], values["characters"], lowercase=values["lowercase"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"cannot read the lexicon: {error}", where=path) from None

"""Words and how often they occur: what word vectors have a row each for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from peluche import files
from peluche.config import Config
from peluche.errors import CheckpointError, DataError, nearest
from peluche.text.counting import PrunedCounter
from peluche.text.phrases import JOINT, PhrasesConfig, join, learn_phrases

# Letters and digits, with apostrophes inside. "_" parts words, since it joins those of phrases.
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
SMALLEST = 2


class VocabularyConfig(Config):
    """How text is cut into words, and which of them are kept.

    Attributes:
        lowercase: whether "The" is the word "the".
        remove: a regular expression; what it matches is not read, e.g. ``<[^>]*>`` for markup.
        min_count: rarer words are left out of the text.
        size: only so many of the most frequent words are kept.
        phrases: which pairs of words are read as one, such as teddy_bear; None for no pair.
    """

    lowercase: bool = True
    remove: str | None = None
    min_count: int = Field(5, ge=1)
    size: int | None = Field(None, ge=SMALLEST)
    phrases: PhrasesConfig | None = None

    @field_validator("remove")
    @classmethod
    def _is_an_expression(cls, remove: str | None) -> str | None:
        try:
            re.compile(remove or "")
        except re.error as error:
            raise ValueError(f"'{remove}' is not a regular expression: {error}") from None
        return remove

    def words(self, text: str) -> list[str]:
        """The words of a text, phrases not joined."""
        if self.remove is not None:
            text = re.sub(self.remove, " ", text)
        return WORD.findall(text.lower() if self.lowercase else text)

    def build(self, read: Callable[[], Iterable[str]]) -> Vocabulary:
        """Count words; `read` gives the texts from the start, once for each pass over them.

        Raises:
            DataError: fewer than two words occur `min_count` times.
        """
        phrases: list[frozenset[tuple[str, str]]] = []

        def texts() -> Iterator[list[str]]:
            for text in read():
                words = self.words(text)
                for pairs in phrases:
                    words = join(words, pairs)
                yield words

        if self.phrases is not None:
            for _ in range(self.phrases.passes):
                phrases.append(frozenset(learn_phrases(texts(), self.phrases)))
        counter: PrunedCounter[str] = PrunedCounter()
        for words in texts():
            counter.update(words)
        least = max(self.min_count, counter.forgotten + 1)
        frequent = [item for item in counter.counts.items() if item[1] >= least]
        frequent = sorted(frequent, key=lambda item: (-item[1], item[0]))[: self.size]
        if len(frequent) < SMALLEST:
            raise DataError(
                f"of {counter.total:,} words in the text, {len(frequent)} occur {least} times or "
                "more"
                if counter.total
                else "there are no words in the text",
                remedy="give more text, or lower vocabulary.min_count",
            )
        return Vocabulary(*zip(*frequent, strict=True), config=self, phrases=phrases)


class Vocabulary(Sequence[str]):
    """Words by number, the most frequent first.

    Args:
        words: in order.
        counts: of each; 0 where they are not known.
        config: how text was cut.
        phrases: pairs that are joined, pass by pass.
    """

    def __init__(
        self,
        words: Sequence[str],
        counts: Sequence[int],
        *,
        config: VocabularyConfig = VocabularyConfig(),
        phrases: Sequence[frozenset[tuple[str, str]]] = (),
    ) -> None:
        self._words = list(words)
        self._numbers = {word: number for number, word in enumerate(self._words)}
        self.counts = np.array(counts, dtype=np.int64)
        self.config, self.phrases = config, list(phrases)

    def __len__(self) -> int:
        return len(self._words)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        return self._words[number]

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def number(self, word: str) -> int:
        """The number of a word or phrase; "teddy bear" finds teddy_bear, "Bear" finds bear.

        Raises:
            DataError: it is not in the vocabulary; names the word that is spelt most like it.
        """
        number = self.find(word)
        if number is None:
            close = nearest(word.lower(), self._words)
            raise DataError(
                f"the word '{word}' is not in the vocabulary of {len(self):,} words",
                remedy=f"did you mean '{close}'?" if close else "give a word of the training text",
            )
        return number

    def find(self, word: str) -> int | None:
        """`number`, or None for a word that is not there."""
        joined = word.strip().replace(" ", JOINT)
        for spelling in (word, joined, joined.lower()):
            if spelling in self._numbers:
                return self._numbers[spelling]
        return None

    def encode(self, text: str) -> NDArray[np.int32]:
        """The numbers of a text's words, phrases joined, unknown words left out."""
        words = self.config.words(text)
        for pairs in self.phrases:
            words = join(words, pairs)
        numbers = self._numbers
        return np.array([numbers[word] for word in words if word in numbers], dtype=np.int32)

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        record = {
            "config": self.config.model_dump(mode="json"),
            "phrases": [sorted(pairs) for pairs in self.phrases],
            "words": self._words,
            "counts": self.counts.tolist(),
        }
        files.write_text(path, json.dumps(record, ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CheckpointError: it is something else.
        """
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                record["words"],
                record["counts"],
                config=VocabularyConfig.parse(record["config"], where=str(path)),
                phrases=[frozenset((a, b) for a, b in pairs) for pairs in record["phrases"]],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"cannot read the vocabulary: {error}",
                where=path,
                remedy="copy it again from where the run was trained",
            ) from None

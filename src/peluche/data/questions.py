"""Questions about texts, as SQuAD has them (Rajpurkar et al. 2016; 2018 for those without answer).

{"data": [{"paragraphs": [{"context": "…", "qas": [
    {"id": "…", "question": "…", "answers": [{"text": "…", "answer_start": 17}],
     "is_impossible": false}]}]}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from peluche.config import kind_unless_given, parse_as
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.locate import found
from peluche.data.readers import display_name, read_text
from peluche.data.selection import Selection, SkipReport
from peluche.data.sources import Encoding
from peluche.errors import DataError


class Answer(NamedTuple):
    """A piece of a text, and where it begins, in characters."""

    text: str
    start: int


class Question(NamedTuple):
    """A question, the text that it is about, and its right answers.

    Attributes:
        answers: as several people gave them; none if the text does not answer the question.
    """

    question: str
    context: str
    answers: tuple[Answer, ...]
    where: str
    id: str = ""

    @property
    def texts(self) -> tuple[str, str]:
        """The text and the question; the text first, so that slices share none."""
        return self.context, self.question


class _QuestionSource(Selection):
    """What sources of questions share."""

    def examples(self) -> Iterator[Question]:
        """All questions, before any selection."""
        raise NotImplementedError

    def read(self, skipped: SkipReport | None = None) -> Iterator[Question]:
        """The questions.

        Raises:
            DataError: the file is not in the format, or an answer does not stand where it says;
                with the place.
        """
        return self.select(self.examples(), skipped)


class SquadQuestions(_QuestionSource):
    """A file in the format of SQuAD 1.1 or 2.0; plain or gzip.

    Attributes:
        path: of the file; a relative one is also looked for in PELUCHE_DATA.
    """

    kind: Literal["squad"] = "squad"
    path: Path
    encoding: Encoding = "utf-8"

    def examples(self) -> Iterator[Question]:
        path = found(self.path)
        name = display_name(path)
        try:
            articles = json.loads(read_text(path, self.encoding))["data"]
            for article in articles:
                for paragraph in article["paragraphs"]:
                    for entry in paragraph["qas"]:
                        yield _question(entry, paragraph["context"], name)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"({error})"
            raise DataError(
                f"this is not a file of SQuAD {what}",
                where=name,
                remedy='write {"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}',
            ) from None


def _question(entry: Mapping[str, Any], context: str, name: str) -> Question:
    where = f"{name}, question {entry['id']}"
    impossible = entry.get("is_impossible", False)
    answers = [] if impossible else [Answer(a["text"], a["answer_start"]) for a in entry["answers"]]
    for text, start in answers:
        if not text or context[start : start + len(text)] != text:
            raise DataError(
                f"the answer '{text}' does not stand at character {start}",
                where=where,
                remedy="count characters, not bytes, from 0",
            )
    if not answers and not impossible:
        raise DataError(
            "the question has no answer",
            where=where,
            remedy='give one, or say "is_impossible": true',
        )
    return Question(entry["question"], context, tuple(answers), where, str(entry["id"]))


class CatalogueQuestions(FromCatalogue, _QuestionSource):
    """Questions of the catalogue."""

    gives = "questions"

    def examples(self) -> Iterator[Question]:
        return self.of_file(SquadQuestions)


QuestionSource = Annotated[
    SquadQuestions | CatalogueQuestions, Field(discriminator="kind"), kind_unless_given("squad")
]


def questions_from(names: Sequence[str], like: Mapping[str, Any], **options: Any) -> QuestionSource:
    """The source of questions that a command line means.

    Args:
        names: one file; none for the source `like` itself.
        like: the configuration of a run's source.
        options: keys of the configuration that take its place.

    Raises:
        ConfigError: an option does not belong here.
        DataError: there are several names.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if len(names) > 1:
        raise DataError(f"{len(names)} names given", remedy="give one file")
    values = {"path": names[0]} if names else dict(like)
    where = " ".join(names) or "the run's data"
    source: QuestionSource = parse_as(QuestionSource, {**values, **given}, where=where)
    return source

"""A conversation with a model: what was said, and how much of it still fits into the context."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

from peluche import files
from peluche.config import parse_as
from peluche.errors import ConfigError, DataError
from peluche.tasks.generate import TextGenerator
from peluche.tasks.text_requests import Piece, TextRequest
from peluche.text.chat import ChatFormat, Message

# Answers that neither wander off nor repeat themselves; old turns make room for new ones.
DEFAULTS: dict[str, Any] = {
    "temperature": 0.3,
    "top_p": 0.9,
    "max_tokens": 1024,
    "on_overflow": "slide",
}
# At most so much of the context is kept free for an answer, whatever `max_tokens` is.
SHARE = 4


class ChatSession:
    """Asks a model, and remembers what was said.

    When the conversation does not fit into the model's context, `on_overflow` decides: "error"
    refuses; "slide" has the model forget the oldest turns, until half of the context is free;
    "truncate" does so too, and leaves out the beginning of a message that is too long by itself.

    Args:
        system: who the model is to be, if its template has a place for that.
        options: of `TextRequest` and `SamplingParameters`, in place of `DEFAULTS`.

    Attributes:
        messages: what was said, without `system`.
        forgotten: so many of the oldest are not shown to the model any more.

    Raises:
        ConfigError: an option that is not known, or out of range.
    """

    def __init__(
        self,
        generator: TextGenerator,
        form: ChatFormat,
        system: str | None = None,
        **options: Any,
    ) -> None:
        self.generator, self.form, self.system = generator, form, system
        self.options: dict[str, Any] = {}
        self.set(**{**DEFAULTS, **options})
        self.messages: list[Message] = []
        self.forgotten = 0
        self._asked = 0

    def set(self, **options: Any) -> None:
        """Change options for the answers that follow.

        Raises:
            ConfigError: one is not known, or out of range; nothing is changed then.
        """
        changed = {**self.options, **options}
        checked = {**changed, "prompt": (0,)}
        if checked.get("on_overflow") == "slide":
            # It is turns that slide: to the generator it is an error, and so a guide may be used.
            checked["on_overflow"] = "error"
        TextRequest.flat(checked, where="the options of this conversation")
        self.options = changed

    def ask(self, text: str) -> Generator[Piece, None, None]:
        """The answer to a message, as it is written; both are remembered.

        To stop reading ends the answer; what there is of it is remembered.

        Raises:
            DataError: the template refuses it, or it does not fit. Nothing is remembered then.
        """
        asked = Message(role="user", content=text)
        # By number, unless a seed was changed: equal conversations get equal answers.
        stream, self._asked = self._asked, self._asked + 1
        request = self._request(asked, stream)
        pieces, last = self.generator.stream(request), None
        try:
            for last in pieces:
                yield last
        finally:
            pieces.close()
            found = None if last is None else last.result
            if found and not found.error and (found.text or found.finish_reason != "cancelled"):
                said = Message(role="assistant", content=found.text)
                self.messages += [asked, said]

    def say(self, text: str) -> str:
        """The whole answer to a message; see `ask`."""
        return "".join(piece.text for piece in self.ask(text))

    def undo(self) -> str:
        """Forget the last message and its answer; the message.

        Raises:
            DataError: nothing was said.
        """
        asked = [place for place, one in enumerate(self.messages) if one.role == "user"]
        if not asked:
            raise DataError("nothing was said yet", remedy="say something first")
        message = self.messages[asked[-1]]
        del self.messages[asked[-1] :]
        self.forgotten = min(self.forgotten, len(self.messages))
        return message.content

    def retry(self) -> Generator[Piece, None, None]:
        """Another answer to the last message, which replaces the one there is.

        Raises:
            DataError: nothing was said.
        """
        return self._instead(None)

    def edit(self, text: str) -> Generator[Piece, None, None]:
        """The answer to another message in place of the last one.

        Raises:
            DataError: nothing was said.
        """
        return self._instead(text)

    def _instead(self, text: str | None) -> Generator[Piece, None, None]:
        before = list(self.messages), self.forgotten
        last = self.undo()
        left = len(self.messages)
        try:
            yield from self.ask(last if text is None else text)
        finally:
            # It failed, or was broken off before anything was said.
            if len(self.messages) == left:
                self.messages, self.forgotten = before

    def reset(self) -> None:
        """Forget what was said. The system prompt stays."""
        self.messages, self.forgotten = [], 0

    def save(self, path: Path) -> None:
        """Write the conversation as a JSON list of messages, `role` and `content` each.

        Raises:
            DataError: it cannot be written.
        """
        values = [message.model_dump() for message in [*self._system(), *self.messages]]
        try:
            files.write_text(path, json.dumps(values, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise DataError(f"it cannot be written: {error.strerror}", where=path) from None
        except UnicodeEncodeError as error:
            raise DataError(
                f"it cannot be written: {error.reason}",
                where=path,
                remedy="give another system prompt",
            ) from None

    def load(self, path: Path) -> None:
        """Go on with a conversation that `save` wrote.

        Raises:
            DataError: it cannot be read, or is none.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found: list[Message] = parse_as(list[Message], values, where=str(path))
            # JSON can spell halves of surrogate pairs, which are not text.
            "".join(message.content for message in found).encode()
        except (OSError, ValueError, ConfigError) as error:
            raise DataError(
                f"this is no conversation: {error}",
                where=path,
                remedy='give a JSON list of {"role": "user", "content": "…"}, as /save writes it',
            ) from None
        first = found[:1] if found and found[0].role == "system" else []
        self.system = first[0].content if first else None
        self.messages, self.forgotten = found[len(first) :], 0

    def _system(self) -> list[Message]:
        return [] if self.system is None else [Message(role="system", content=self.system)]

    def _request(self, asked: Message, stream: int) -> TextRequest:
        context, most = self.generator.context, self.options["max_tokens"]
        tokens = self._shown(asked)
        if context is not None:
            room = context - min(most, context // SHARE)
            if len(tokens) > room:
                asked, tokens = self._fitting(asked, room)
            most = min(most, context - len(tokens))
        values = {"stream": stream, **self.options, "max_tokens": most, "on_overflow": "error"}
        ends = self.form.ends | set(self.options.get("stop_tokens", ()))
        return TextRequest.flat({**values, "prompt": tuple(tokens), "stop_tokens": ends})

    def _shown(self, asked: Message) -> list[int]:
        return self.form.encode([*self._system(), *self.messages[self.forgotten :], asked])

    def _fitting(self, asked: Message, room: int) -> tuple[Message, list[int]]:
        """Of a conversation that is too long: the message, and all tokens that are shown now."""
        policy = self.options["on_overflow"]
        if policy == "error":
            raise self._too_long("this conversation is", len(self._shown(asked)), room)
        before, tokens = self.forgotten, self._shown(asked)
        turns = [
            place
            for place, one in enumerate(self.messages)
            if one.role == "user" and place > before
        ]
        for place in [*turns, len(self.messages)]:
            # To half of the room: else every turn would forget one, and be read anew as a whole.
            if len(tokens) <= room // 2:
                break
            self.forgotten = place
            tokens = self._shown(asked)
        while len(tokens) > room:
            content = self.generator.tokenizer.encode(asked.content)
            keep = len(content) - (len(tokens) - room)
            if policy != "truncate" or keep <= 0:
                self.forgotten = before
                raise self._too_long("this message alone is", len(tokens), room)
            text = self.generator.tokenizer.decode(content[-keep:])
            if len(text) >= len(asked.content):  # of tokens that do not spell the text again
                text = asked.content[1:]
            asked = Message(role="user", content=text)
            tokens = self._shown(asked)
        return asked, tokens

    def _too_long(self, what: str, count: int, room: int) -> DataError:
        context = self.generator.context
        return DataError(
            f"{what} {count} tokens long; of the model's context of {context}, {room} are for what "
            "is said",
            remedy="shorten it, forget what was said (/reset), ask for fewer tokens, or set "
            "on_overflow: slide forgets old turns, truncate cuts a long message too",
        )

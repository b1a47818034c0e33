"""Text of tokens that come one after the other, shown as soon as nothing can change it any more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from peluche.errors import ConfigError
from peluche.text.tokenizer import Tokenizer

# What stands for bytes that are not, or not yet, a character.
REPLACEMENT = "\ufffd"
# A byte of a vocabulary that spells rare characters so. Runs of them are decoded as a whole.
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class TextStream:
    """Tokens in, text that is safe to show out.

    What `add` and `end` give is together `decode([*before, *tokens])` without `decode(before)`, up
    to the first stop string. Held back are characters of which bytes are missing, and beginnings
    of stop strings; `end` gives them.

    Args:
        before: what the tokens follow: whether the first one begins with a space depends on it.
        stop: texts that end the stream. They are not given.

    Attributes:
        stopped: the stop string that was met; None so far. The one that ends first counts, the
            longest of those, however the tokens cut the text.

    Raises:
        ConfigError: a stop string is empty.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, before: Sequence[int] = (), stop: Sequence[str] = ()
    ) -> None:
        if "" in stop:
            raise ConfigError("a stop string is empty", remedy="leave it out")
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.stopped: str | None = None
        self._held = ""
        self._special = tokenizer.special_ids
        # Tokens that are decoded together, so many characters of which were passed on.
        self._window = [token for token in before if not self._is_silent(token)]
        self._passed = 0
        self._slide_over_prompt()

    def add(self, token: int) -> str:
        """The text that is now safe.

        Raises:
            IndexError: there is no such token.
        """
        if self.stopped is not None or self._is_silent(token):
            return ""
        self._window.append(token)
        fresh = self._decode()[self._passed :]
        if BYTE.fullmatch(self.tokenizer.token(token)):
            # A byte that follows may undo what these spell, unless nothing follows.
            met = any(stop in self._held + fresh for stop in self.stop)
            return self._without_stops(fresh) if met and fresh[-1:] != REPLACEMENT else ""
        # A character of which bytes are missing shows as one mark.
        whole = fresh.removesuffix(REPLACEMENT)
        self._passed += len(whole)
        if whole and whole == fresh:
            self._slide()
        return self._without_stops(whole)

    def end(self) -> str:
        """What was held back, when no more tokens come."""
        if self.stopped is not None:
            return ""
        fresh = self._decode()[self._passed :]
        text = self._without_stops(fresh)
        if self.stopped is None:
            text, self._held = text + self._held, ""
        self._passed += len(fresh)
        return text

    def _is_silent(self, token: int) -> bool:
        return token in self._special and not self.tokenizer.decode([token])

    def _decode(self) -> str:
        return self.tokenizer.decode(self._window)

    def _slide_over_prompt(self) -> None:
        """`_slide`, but a character that the prompt only begins is passed on as a whole."""
        last = self._window[-4:]  # one more than tokens of an unfinished character
        mark = self.tokenizer.encode(REPLACEMENT)
        text = self.tokenizer.decode(last)
        if text.endswith(REPLACEMENT) and last[-len(mark) :] != mark:
            self._window, self._passed = last, len(text) - 1
        else:
            self._slide()

    def _slide(self) -> None:
        """Forget all but the last token that is text: how the next begins depends on no other."""
        for start in range(len(self._window) - 1, -1, -1):
            if self.tokenizer.decode(self._window[start : start + 1]):
                del self._window[:start]
                break
        self._passed = len(self._decode())

    def _without_stops(self, fresh: str) -> str:
        if not self.stop:
            return fresh
        text = self._held + fresh
        met = [
            (at + len(stop), -len(stop), stop) for stop in self.stop if (at := text.find(stop)) >= 0
        ]
        if met:
            end, _, self.stopped = min(met)
            self._held = ""
            return text[: end - len(self.stopped)]
        held = max(_begun(text, stop) for stop in self.stop)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)

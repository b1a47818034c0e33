"""A conversation at a terminal or over a pipe: lines in, answers out as they are written."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from peluche.cli.chat_commands import COMMANDS, Leave, run_command
from peluche.cli.terminal import STEERING, counted, is_terminal, say
from peluche.errors import PelucheError

if TYPE_CHECKING:
    from peluche.tasks.chat import ChatSession
    from peluche.tasks.text_requests import Generated, Piece

PROMPT, MORE = "> ", "… "
HISTORY = 1000


class Conversation:
    """A session, and where its answers go.

    Attributes:
        error: the last that a line met with in `follow`; None if all went well.
    """

    def __init__(self, session: ChatSession, *, as_json: bool, verbose: bool) -> None:
        self.session, self.as_json, self.verbose = session, as_json, verbose
        self.error: PelucheError | None = None

    def follow(self, lines: Iterable[str]) -> None:
        """Answer each line. A message that fails fails alone."""
        for line in lines:
            if line.strip():
                self.error = self.answer(line, self.session.ask(line)) or self.error

    def at_prompt(self, model: str) -> None:
        """Answer what is typed, until Ctrl-D, /quit, or Ctrl-C twice in a row."""
        say(f"{model}: type a message; /help shows commands, Ctrl-D ends")
        with _history():
            for line in _typed():
                with suppress(Leave):
                    if not line.startswith("/"):
                        self.answer(line, self.session.ask(line))
                    elif (pieces := self._command(line)) is not None:
                        self.answer(line, pieces)
                    continue
                return

    def answer(self, message: str, pieces: Generator[Piece, None, None]) -> PelucheError | None:
        """Print an answer as it is written. Ctrl-C ends it; an error is said, and returned."""
        steers = STEERING if is_terminal(sys.stdout) else {}
        watch, result, shown = _Watch(self.session), None, False
        try:
            with _interruptible() as interrupted:
                for piece in pieces:
                    result = piece.result
                    watch.see(result)
                    if piece.text and not self.as_json:
                        print(piece.text.translate(steers), end="", flush=True)
                        shown = True
                    if interrupted:
                        break
                pieces.close()
        except PelucheError as error:
            if self.as_json:
                self._print({"message": message, "error": str(error)})
            say(f"{chr(10) * shown}peluche: {error}")
            return error
        assert result is not None, "there is a piece at least"
        if self.as_json:
            known = result.as_json()
            kept = ("finish_reason", "prompt_tokens", "completion_tokens")
            values = {"message": message, "answer": result.text}
            self._print(values | {key: known[key] for key in kept})
        else:
            print(flush=True)
        if result.finish_reason == "cancelled":
            what = "what there is of the answer is" if result.text else "nothing of it is"
            say(f"(interrupted; {what} remembered)")
        if self.verbose:
            say(watch.summary(result))
        return None

    def _print(self, values: dict[str, Any]) -> None:
        text = json.dumps(values, ensure_ascii=False)
        # An argument that is not UTF-8 has halves of surrogate pairs: JSON spells them like Python.
        print(text.encode(errors="backslashreplace").decode(), flush=True)

    def _command(self, line: str) -> Generator[Piece, None, None] | None:
        try:
            return run_command(self.session, line)
        except PelucheError as error:
            say(f"peluche: {error}")
            return None


class _Watch:
    """How long an answer takes, in seconds."""

    def __init__(self, session: ChatSession) -> None:
        self.counters = session.generator.engine.counters
        self.started, self.known = time.perf_counter(), self.counters.cached
        self.first: float | None = None

    def see(self, result: Generated) -> None:
        if self.first is None and result.tokens:
            self.first = time.perf_counter()

    def summary(self, result: Generated) -> str:
        now, known = time.perf_counter(), self.counters.cached - self.known
        first, count = self.first or now, len(result.tokens)
        rate = (count - 1) / (now - first) if count > 1 else 0.0
        return (
            f"({counted(count, 'token')}, {rate:.1f} tokens/s; "
            f"the first after {first - self.started:.2f} s; "
            f"{counted(result.prompt_tokens, 'token')} before it, of which {known} had been read)"
        )


def _typed() -> Iterator[str]:
    """What is typed; a line that ends in a backslash goes on. Empty lines are passed over."""
    warned, lines = False, list[str]()
    while True:
        try:
            line = _input(MORE if lines else PROMPT)
        except EOFError:
            say("")
            return
        except KeyboardInterrupt:
            say("" if warned else "\n(Ctrl-C again or Ctrl-D ends)")
            if warned:
                return
            warned, lines = True, []
            continue
        except UnicodeDecodeError as error:
            say(f"peluche: this is not {error.encoding}: {error.reason}")
            continue
        warned = False
        lines.append(line.removesuffix("\\"))
        if line.endswith("\\"):
            continue
        text, lines = "\n".join(lines), []
        if text.strip():
            yield text


def _input(prompt: str) -> str:
    """`input`, with the prompt on stderr where stdout is not the terminal."""
    if is_terminal(sys.stdout):
        return input(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    return input()


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C only takes a note, in the list that is given: the answer ends at its next token."""
    noted: list[int] = []
    if not is_terminal(sys.stdin):
        yield noted
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _history() -> Iterator[None]:
    """Lines of before come back with the arrow keys, commands with Tab, where that is possible."""
    try:
        import readline
    except ImportError:
        yield
        return
    from peluche.data.locate import cache_folder

    path = cache_folder() / "chat_history"
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY)
    readline.set_completer_delims(" ")
    readline.set_completer(_completed)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def _completed(text: str, state: int) -> str | None:
    found = [f"/{name}" for name in COMMANDS if f"/{name}".startswith(text)] if text else []
    return found[state] if state < len(found) else None

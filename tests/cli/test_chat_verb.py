"""`peluche chat` over pipes, and at a terminal (a pseudo-terminal, by key strokes)."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Iterable

import pytest
import typer
from typer.testing import CliRunner

import peluche
from peluche.cli import conversation, generating
from peluche.cli.chat import register
from peluche.cli.terminal import say
from peluche.data.readers import read_lines
from peluche.errors import ConfigError, DataError
from peluche.tasks.complete import Completer
from peluche.text.chat import TURN_END
from peluche.text.tokenizer import TokenizerConfig
from talking import TOKENIZER, make_run

CHOSEN = ("--max-tokens", "8", "--seed", "2", "--temperature", "1")
ENDS = [f"{TOKENIZER.id(TURN_END)}=-100", f"{TOKENIZER.eos_id}=-100"]
ENDLESS = [word for end in ENDS for word in ("--logit-bias", end)]
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(make_run(tmp_path_factory.mktemp("runs") / "talks"))


def invoke(*arguments: str, stdin: str | bytes | None = None):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


def session(run):
    return peluche.load(run).chat(max_tokens=8, seed=2, temperature=1.0)


def test_every_line_of_a_pipe_is_a_message(run):
    result = invoke(run, *CHOSEN, stdin="Hi\n\n/help me 🧸\n")
    expected = session(run)
    answers = [expected.say("Hi"), expected.say("/help me 🧸")]
    assert result.stdout == "".join(f"{answer}\n" for answer in answers)
    assert result.exit_code == 0


def test_a_model_that_talks_by_a_copy_of_its_weights_is_let_go(run, monkeypatch):
    load, models = generating.load, []

    def remember(context: typer.Context) -> Completer:
        completer = load(context)
        models.append(weakref.ref(completer.model))
        return completer

    def follow(self: conversation.Conversation, lines: Iterable[str]) -> None:
        assert models[0]() is None
        models.append(self)

    monkeypatch.setattr(generating, "load", remember)
    monkeypatch.setattr(conversation.Conversation, "follow", follow)
    assert invoke(run, *CHOSEN, "Hi").exit_code == 0
    assert len(models) == 2


def test_json_has_one_object_for_each_turn(run):
    found = invoke(run, *CHOSEN, "--json", stdin="Hi\nHo\n").stdout.split("\n")
    first, second = (json.loads(line) for line in found[:-1])
    expected = session(run)
    assert first["message"] == "Hi"
    assert first["answer"] == expected.say("Hi")
    assert second["answer"] == expected.say("Ho")
    assert first["completion_tokens"] <= 8


def test_one_message_as_argument(run):
    result = invoke(run, "Hi", *CHOSEN, "--verbose")
    assert result.stdout == session(run).say("Hi") + "\n"
    assert re.search(r"tokens/s; the first after \d", result.stderr)


def test_a_message_that_fails_fails_alone(tmp_path):
    small = make_run(tmp_path / "small", positions="learned", max_length=120)
    result = invoke(str(small), "--max-tokens", "4", "--json", stdin=f"Hi\n{'xz' * 99}\nHo\n")
    first, second, third = (json.loads(line) for line in result.stdout.split("\n")[:-1])
    assert "answer" in first
    assert "this message alone is" in second["error"]
    assert "answer" in third
    assert result.exit_code == 3
    assert "to mend it: shorten it" in result.stderr


def test_an_argument_that_is_not_text_is_refused(run):
    result = invoke(run, "\udcff", "--json")
    assert json.loads(result.stdout)["message"] == "\udcff"
    assert "surrogate pair" in result.stderr
    assert result.exit_code == 3


def test_streams_that_are_closed(run, monkeypatch):
    talk = conversation.Conversation(session(run), as_json=False, verbose=False)
    for name in ("stdin", "stdout"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, None)
            assert talk.answer("Hi", talk.session.ask("Hi")) is None
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        list(read_lines("-"))


def test_what_is_shown_again_cannot_steer_the_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say("user: a\x1b[2J\n\tb")
    assert capsys.readouterr().err == "user: a\ufffd[2J\n\tb\n"


def test_what_to_do_without_a_model(run, tmp_path):
    with pytest.raises(ConfigError, match=r"which model\?[\s\S]*smollm2-135m-instruct"):
        invoke()
    mute = make_run(tmp_path / "mute", TokenizerConfig(kind="byte").build(["x"]))
    with pytest.raises(ConfigError, match="peluche complete"):
        invoke(str(mute), stdin="Hi\n")
    with pytest.raises(ConfigError, match="top_p"):
        invoke(run, "Hi", "--top-p", "3")


def test_what_is_typed_becomes_messages(monkeypatch, capsys):
    strokes = ["one", "", "  ", "two\\", "more", KeyboardInterrupt, "three\\", KeyboardInterrupt]
    strokes += [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        "four",
        KeyboardInterrupt,
        KeyboardInterrupt,
        "never",
    ]

    def typed(prompt):
        stroke = strokes.pop(0)
        if isinstance(stroke, str):
            return stroke
        raise stroke

    monkeypatch.setattr(conversation, "_input", typed)
    assert list(conversation._typed()) == ["one", "two\nmore", "four"]
    assert strokes == ["never"]
    assert capsys.readouterr().err.count("Ctrl-C again") == 3
    strokes[:] = ["five", EOFError]
    assert list(conversation._typed()) == ["five"]


class Terminal:
    """A program at a terminal of its own; what it shows is waited for."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self.ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "peluche", "chat", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            preexec_fn=lambda: os.login_tty(theirs),
        )
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def wait_for(self, expression: str, seconds: float = 60) -> re.Match[str]:
        """What comes next that matches; what is shown after it is left for later."""
        end = time.monotonic() + seconds
        while (found := re.search(expression, self.shown)) is None:
            if not select.select([self.ours], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {expression!r} in {self.shown!r}")
            try:
                data = os.read(self.ours, 1 << 16)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                raise AssertionError(f"ended, without {expression!r}: {self.shown!r}")
            self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        self.shown = self.shown[found.end() :]
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture
def terminal(run, tmp_path):
    environment = {**os.environ, "PELUCHE_CACHE": str(tmp_path / "cache"), "TERM": "dumb"}
    found = Terminal(run, "--verbose", *CHOSEN, *ENDLESS, environment=environment)
    yield found
    found.close()


@pytest.mark.skipif(not hasattr(os, "login_tty"), reason="no terminals to open here")
def test_a_conversation_at_a_terminal(terminal, tmp_path):
    terminal.wait_for("/help shows commands.*\n> ")
    terminal.type("\n   \nHi 🧸\n")
    terminal.wait_for(r"\(8 tokens, .*\)\n> ")
    # An answer without end, which Ctrl-C ends; the program goes on.
    terminal.type("/set max_tokens 1000000\n")
    terminal.wait_for("max_tokens=1000000.*\n> ")
    terminal.type("and\\\non and on\n")
    terminal.wait_for(r"on and on\n[\s\S]{200}")
    terminal.type(CTRL_C)
    terminal.wait_for(r"interrupted[\s\S]*\n> ")
    terminal.type("/sett\n")
    terminal.wait_for("did you mean '/set'")
    terminal.type("/set max_tokens 3\n/retry\n")
    terminal.wait_for(r"\(3 tokens, .*\)\n> ")
    terminal.type(f"/save {tmp_path}/talk.json\n")
    terminal.wait_for("4 messages in")
    values = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert [one["content"] for one in values[::2]] == ["Hi 🧸", "and\non and on"]
    terminal.type("/undo\n/show\n")
    terminal.wait_for(r"forgotten: and\non and on[\s\S]*user: Hi")
    terminal.wait_for("> $")
    terminal.type("/reset\n")
    # Before the prompt a terminal reads lines, and Ctrl-D in them would be lost.
    terminal.wait_for(r"forgotten but the system prompt[\s\S]*\n> $")
    terminal.type(CTRL_D)
    assert terminal.process.wait(30) == 0
    history = (tmp_path / "cache" / "chat_history").read_text(encoding="utf-8")
    assert "/reset" in history

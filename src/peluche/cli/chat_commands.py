"""What can be said at the prompt of `peluche chat` besides messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from peluche.cli.terminal import counted, say
from peluche.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from peluche.tasks.chat import ChatSession
    from peluche.tasks.text_requests import Piece


class Leave(Exception):
    """The conversation is over."""


class Command(NamedTuple):
    """What is done with what stands after a command, and what to say about it."""

    takes: str
    help: str
    run: Callable[[ChatSession, str], Generator[Piece, None, None] | None]


def run_command(session: ChatSession, line: str) -> Generator[Piece, None, None] | None:
    """Do what a line says that begins with a slash; an answer if the model is to give one.

    Raises:
        PelucheError: it cannot be done.
        Leave: it is /quit.
    """
    name, _, argument = line[1:].partition(" ")
    if name not in COMMANDS:
        close = did_you_mean(f"/{name}", [f"/{known}" for known in COMMANDS])
        raise ConfigError(
            f"there is no command /{name}",
            remedy=f"{close}; a message may begin with a space before its slash",
        )
    return COMMANDS[name].run(session, argument.strip())


def _help(session: ChatSession, argument: str) -> None:
    for name, command in COMMANDS.items():
        say(f"  {f'/{name} {command.takes}':24} {command.help}")
    say("  a line that ends in \\ goes on; Ctrl-C ends an answer, Ctrl-D the program")


def _system(session: ChatSession, argument: str) -> None:
    if argument:
        session.system = argument
    say(f"system: {'(as the model has it)' if session.system is None else session.system}")


def _reset(session: ChatSession, argument: str) -> None:
    session.reset()
    say("all is forgotten but the system prompt")


def _undo(session: ChatSession, argument: str) -> None:
    say(f"forgotten: {session.undo()}")


def _save(session: ChatSession, argument: str) -> None:
    session.save(_path(argument))
    say(f"{counted(len(session.messages), 'message')} in {argument}")


def _load(session: ChatSession, argument: str) -> None:
    session.load(_path(argument))
    say(f"{counted(len(session.messages), 'message')} from {argument}")


def _set(session: ChatSession, argument: str) -> None:
    name, _, value = argument.replace("=", " ", 1).partition(" ")
    if name and not value.strip():
        raise ConfigError(f"/set {name} lacks a value", remedy=f"write e.g. /set {name} 1")
    if name:
        session.set(**{name: _value(value.strip())})
    say("  ".join(f"{key}={value}" for key, value in sorted(session.options.items())))


def _show(session: ChatSession, argument: str) -> None:
    if session.system is not None:
        say(f"system: {session.system}")
    for number, message in enumerate(session.messages):
        note = " (forgotten)" if number < session.forgotten else ""
        say(f"{message.role}{note}: {message.content}")


def _quit(session: ChatSession, argument: str) -> None:
    raise Leave


def _edited(session: ChatSession, argument: str) -> Generator[Piece, None, None]:
    if not argument:
        raise ConfigError("/edit lacks the message", remedy="write the new message after it")
    return session.edit(argument)


def _path(argument: str) -> Path:
    if not argument:
        raise ConfigError("the name of a file is missing", remedy="write e.g. /save talk.json")
    return Path(argument).expanduser()


def _value(text: str) -> object:
    """A number, a list, … as JSON has it; else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


COMMANDS = {
    "help": Command("", "this", _help),
    "system": Command("[TEXT]", "who the model is to be from now on", _system),
    "retry": Command("", "another answer to the last message", lambda chat, _: chat.retry()),
    "edit": Command("TEXT", "another message in place of the last one", _edited),
    "undo": Command("", "forget the last message and its answer", _undo),
    "reset": Command("", "forget all messages", _reset),
    "show": Command("", "what was said", _show),
    "save": Command("FILE", "write the conversation as JSON", _save),
    "load": Command("FILE", "go on with a conversation that was saved", _load),
    "set": Command("[NAME VALUE]", "change a setting, e.g. /set temperature 0.7", _set),
    "quit": Command("", "leave", _quit),
}

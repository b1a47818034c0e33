"""`peluche chat`: a conversation with a model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer import Argument, Option

from peluche.cli import drawing, generating
from peluche.cli.terminal import is_terminal
from peluche.errors import ConfigError


def register(app: typer.Typer) -> None:
    app.command("chat")(chat)


def chat(
    context: typer.Context,
    model: Annotated[str | None, Argument(help="a model that was trained to talk")] = None,
    message: Annotated[str | None, Argument(help="one message, instead of a conversation")] = None,
    system: Annotated[str | None, Option(help="who the model is to be")] = None,
    max_tokens: generating.MaxTokens = None,
    stop: generating.Stop = None,
    on_overflow: generating.OnOverflow = None,
    temperature: drawing.Temperature = None,
    top_k: drawing.TopK = None,
    top_p: drawing.TopP = None,
    min_p: drawing.MinP = None,
    typical_p: drawing.TypicalP = None,
    repetition_penalty: drawing.RepetitionPenalty = None,
    presence_penalty: drawing.PresencePenalty = None,
    frequency_penalty: drawing.FrequencyPenalty = None,
    logit_bias: drawing.LogitBias = None,
    seed: drawing.Seed = None,
    precision: generating.Precision = "auto",
    kv_cache: generating.KVCache = "float32",
    memory: generating.Memory = None,
    threads: generating.Threads = None,
    lookup: generating.Lookup = False,
    draft: generating.Draft = None,
    weights: generating.RunWeights = "model",
    encoding: generating.Encoding = "utf-8",
    as_json: generating.AsJson = False,
    verbose: Annotated[bool, Option("--verbose", help="say after each answer how fast")] = False,
) -> None:
    """Talk to a model, at a prompt or through a pipe: every line of standard input is a message.

    At the prompt, /help shows what else can be said. Ctrl-C ends an answer, Ctrl-D the program.
    """
    if model is None:
        raise ConfigError(
            "which model?",
            remedy="peluche chat smollm2-135m-instruct fetches a small one (93 MB) on its first "
            "use; peluche models list shows all that are known by name",
        )
    from peluche.cli.conversation import Conversation
    from peluche.data.readers import check_encoding, read_lines

    check_encoding(encoding)
    options = generating.given(context)
    session = generating.start(
        context,
        lambda completer, generator: completer.chat(system, generator=generator, **options),
    )
    talk = Conversation(session, as_json=as_json, verbose=verbose)
    if message is not None:
        talk.follow([message])
    elif is_terminal(sys.stdin):
        talk.at_prompt(model)
    else:
        talk.follow(read_lines("-", encoding))
    if talk.error is not None:
        raise typer.Exit(talk.error.exit_code)

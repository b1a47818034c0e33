"""The options of verbs that run language models, and what they make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from typer import Option

if TYPE_CHECKING:
    from peluche.tasks.complete import Completer
    from peluche.tasks.generate import TextGenerator

MaxTokens = Annotated[int | None, Option(min=1, help="the most to write")]
Stop = Annotated[list[str] | None, Option(help="a text that ends it; may be repeated")]
OnOverflow = Annotated[
    Literal["error", "slide", "truncate"] | None,
    Option("--overflow", help="what to do when the model's context is full"),
]
Precision = Annotated[
    Literal["auto", "float32", "float16", "int8", "int4"], Option(help="of the weights in memory")
]
KVCache = Annotated[
    Literal["float32", "float16", "int8"], Option(help="of keys and values in memory")
]
Memory = Annotated[float | None, Option(help="megabytes for keys and values; 500 unless given")]
Threads = Annotated[int | None, Option(min=1, help="processor cores to use; all unless given")]
Lookup = Annotated[bool, Option("--lookup", help="guess that what was said is said again")]
Draft = Annotated[str | None, Option(help="a smaller model with the same tokenizer, to guess")]
RunWeights = Annotated[str, Option("--weights", help="which weights of the run: best, averaged, …")]
Encoding = Annotated[str, Option(help="of standard input and files")]
AsJson = Annotated[bool, Option("--json", help="one JSON object a line")]
NAMES = ("max_tokens", "stop", "on_overflow")


def given(context: typer.Context) -> dict[str, Any]:
    """Those options of a request that were given to a verb whose parameters have these names.

    Raises:
        ConfigError: a --logit-bias that is not ID=BIAS.
    """
    from peluche.cli import drawing

    values = {name: context.params.get(name) for name in NAMES}
    found = {name: value for name, value in values.items() if value not in (None, [], ())}
    return {**drawing.given(context), **found}


def load(context: typer.Context) -> Completer:
    """The model of a verb with the parameters `model`, `weights` and `threads`.

    Raises:
        ConfigError: more threads than cores, or no such model.
    """
    from peluche.nn.machine import tune_allocator, use_threads
    from peluche.tasks.load import load_completer

    tune_allocator()
    if context.params["threads"] is not None:
        use_threads(context.params["threads"])
    return load_completer(context.params["model"], weights=context.params["weights"])


T = TypeVar("T")


def start(context: typer.Context, take: Callable[[Completer, TextGenerator], T]) -> T:
    """Load a verb's model, and start a generator as the options of generators say.

    Args:
        take: what is wanted of the two. The model itself is let go: the generator has a copy of
            its weights, if it is fast.

    Raises:
        ConfigError: the model cannot run so.
    """
    from peluche.nn.machine import trim_memory
    from peluche.tasks.engines import GeneratorConfig
    from peluche.tasks.load import load_completer

    completer = load(context)
    chosen = {name: context.params[name] for name in ("precision", "kv_cache", "lookup")}
    if context.params["memory"] is not None:
        chosen["memory"] = 1e6 * context.params["memory"]
    draft, own = context.params["draft"], context.params["model"]
    guesser = None if draft is None else completer if draft == own else load_completer(draft)
    generator = completer.start_generator(GeneratorConfig.parse(chosen), guesser)
    taken = take(completer, generator)
    del completer
    trim_memory()
    return taken

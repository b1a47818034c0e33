"""Many requests through one engine against one after the other; requests with guesses and without.

    python benchmarks/serve_requests.py
    python benchmarks/serve_requests.py --task guesses
    python benchmarks/serve_requests.py --task guesses --weights float32

`requests`: prompts of 16 to 112 tokens arrive at random, 32 to 224 are to be written after each;
how many tokens a second are written for all of them. `guesses`: requests one at a time, three
whose answers repeat their prompts (quote, edit, tool arguments) and three whose do not; nothing is
guessed, what was said is looked up, or, where weights are float32, the model itself guesses with
weights of 4 or 8 bits. Contestants take turns in processes of their own; medians of rounds.
"""

from __future__ import annotations

import argparse
import functools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from side_by_side import compete, table

Guesses = Literal["none", "lookup", "draft"]

ARTICLE = (
    "The harbour of Saint-Malo was built on a rock that the tide cuts off from the land twice a "
    "day. Sailors of the town fished off Newfoundland, traded with Peru, and were paid by the king "
    "to chase English ships. In August 1944 four fifths of the old houses burnt; they were built "
    "again, stone by stone, by 1953."
)
COPYING = {
    "quote": f"Repeat this text word for word.\n\n{ARTICLE}",
    "edit": f"Write this text again, with 'harbour' in place of 'harbor'.\n\n"
    f"{ARTICLE.replace('harbour', 'harbor')}",
    "tool arguments": "Write the arguments of the call as JSON.\n\n"
    'Schema: {"recipient": string, "subject": string, "body": string}\n'
    'Example: {"recipient": "anne@example.org", "subject": "The boat to Saint-Malo leaves at nine",'
    ' "body": "Please be at the harbour of Saint-Malo by half past eight, with your ticket."}\n'
    "Call: the same message, to paul@example.org.",
}

OTHERS = {
    "summary": f"Say in two sentences what this text tells.\n\n{ARTICLE}",
    "code": "Write a Python function that counts how often each word occurs in a file.",
    "story": "Tell a story about a bear who learns to read.",
}


def chat(question: str) -> str:
    """ChatML, which SmolLM2 was tuned with."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def engine_of(options: Mapping[str, Any], running: int, guesses: Guesses) -> tuple[Any, Any]:
    """An engine for the model, and its tokenizer."""
    import torch

    import peluche
    from peluche.generation.sampler import Sampler
    from peluche.inference.draft_model import DraftModel
    from peluche.inference.engine import Engine, EngineConfig
    from peluche.inference.runner import fastest_runner
    from peluche.inference.speculation import Drafter, PromptLookup

    torch.set_num_threads(options["threads"])
    task = peluche.load(options["model"])
    model = task.model.eval()
    runner = fastest_runner(model, options["blocks"], weights=options["weights"])
    sampler = Sampler(task.tokenizer.special, model.vocabulary)
    drafter: Drafter | None = PromptLookup() if guesses == "lookup" else None
    if guesses == "draft":
        smaller = fastest_runner(model, options["blocks"], weights="auto")
        drafter = DraftModel(smaller, task.tokenizer.special, model.vocabulary, running)
    # Nothing is left in memory of a round before.
    config = EngineConfig(running=running, prefix_cache=False)
    return Engine(runner, sampler, config, drafter), task.tokenizer


def request_round(options: Mapping[str, Any], running: int) -> Callable[[], Mapping[str, float]]:
    from peluche.data.builtin.corpus import generate
    from peluche.generation.requests import GenerationRequest

    engine, tokenizer = engine_of(options, running, "none")
    text = " ".join(english for english, _ in generate("train", 2000, seed=0))
    tokens = tokenizer.encode_batch([text])[0]
    chance = random.Random(0)
    coming = []
    at = 0.0
    for _ in range(options["requests"]):
        at += chance.expovariate(1 / options["gap"])
        start, length = chance.randrange(len(tokens) - 128), chance.randint(16, 112)
        coming.append((at, tokens[start : start + length], chance.randint(32, 224)))

    def run() -> Mapping[str, float]:
        written = engine.counters.written
        waits, begun, left = [], {}, list(coming)
        started = time.perf_counter()
        while left or not engine.idle:
            now = time.perf_counter() - started
            while left and left[0][0] <= now:
                arrived, prompt, most = left.pop(0)
                asked = GenerationRequest(tokens=prompt, max_tokens=most, ignore_eos=True)
                begun[engine.add(asked)] = arrived
            if engine.idle:
                time.sleep(left[0][0] - now)
            for event in engine.step():
                if event.key in begun:
                    waits.append(time.perf_counter() - started - begun.pop(event.key))
        seconds = time.perf_counter() - started
        rate = (engine.counters.written - written) / seconds
        return {"seconds": seconds, "rate": rate, "wait": sum(waits) / len(waits)}

    return run


def one_by_one(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    return request_round(options, 1)


def together(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    return request_round(options, 32)


def guesses_round(
    options: Mapping[str, Any], guesses: Guesses
) -> Callable[[], Mapping[str, float]]:
    from peluche.generation.requests import GenerationRequest
    from peluche.generation.sampling import SamplingParameters

    engine, tokenizer = engine_of(options, 1, guesses)
    questions = COPYING | OTHERS
    prompts = tokenizer.encode_batch([chat(question) for question in questions.values()])
    greedy = SamplingParameters(temperature=0)

    def run() -> Mapping[str, float]:
        figures = {"seconds": 0.0}
        for name, prompt in zip(questions, prompts, strict=True):
            done = engine.counters
            before = done.written
            engine.add(GenerationRequest(tokens=prompt, max_tokens=96, sampling=greedy))
            while done.written == before:
                engine.step()
            written, drafted, accepted = done.written, done.drafted, done.accepted
            started = time.perf_counter()
            while not engine.idle:
                engine.step()
            seconds = time.perf_counter() - started
            figures[name] = (done.written - written) / seconds
            figures[f"{name}, right"] = (done.accepted - accepted) / max(1, done.drafted - drafted)
            figures["seconds"] += seconds
        return figures

    return run


def guess(options: Mapping[str, Any]) -> None:
    """Requests one at a time, with guesses and without."""
    kinds: list[Guesses] = ["none", "lookup"]
    if options["weights"] == "float32":
        kinds.append("draft")
    contestants = {kind: functools.partial(guesses_round, guesses=kind) for kind in kinds}
    found = compete(contestants, options, options["rounds"])
    rows = [["tokens/s", "none"]]
    for kind in kinds[1:]:
        rows[0] += [kind, "ratio", "of the guesses right"]
    for name in COPYING | OTHERS:
        base = found["none"].median(name)
        row = [name, f"{base:.1f}"]
        for kind in kinds[1:]:
            rate, right = found[kind].median(name), found[kind].median(f"{name}, right")
            row += [f"{rate:.1f}", f"{rate / base:.2f}", f"{right:.0%}"]
        rows.append(row)
    print(table(rows))


def serve(options: Mapping[str, Any]) -> None:
    """Requests that arrive at random."""
    found = compete({"one by one": one_by_one, "together": together}, options, options["rounds"])
    rows = [["", "tokens/s", "ratio", "s to the first token"]]
    base = found["one by one"].median("rate")
    for name, rounds in found.items():
        rate = rounds.median("rate")
        rows.append([name, f"{rate:.1f}", f"{rate / base:.2f}", f"{rounds.median('wait'):.2f}"])
    print(table(rows))


TASKS: dict[str, Callable[[Mapping[str, Any]], None]] = {"requests": serve, "guesses": guess}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=list(TASKS), default="requests")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--gap", type=float, default=0.1, help="mean seconds between arrivals")
    parser.add_argument("--blocks", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = vars(parser.parse_args(arguments))
    TASKS[options["task"]](options)


if __name__ == "__main__":
    main()

"""Many requests through one engine against one after the other; copying with prompt lookup.

    python benchmarks/serve_requests.py
    python benchmarks/serve_requests.py --task copying

`requests`: prompts of 16 to 112 tokens arrive at random, 32 to 224 are to be written after each;
how many tokens a second are written for all of them. `copying`: three requests whose answers repeat
their prompts (quote, edit, tool arguments), one at a time. Contestants take turns in processes of
their own; medians of rounds.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from side_by_side import compete, table

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


def chat(question: str) -> str:
    """ChatML, which SmolLM2 was tuned with."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def engine_of(options: Mapping[str, Any], running: int, lookup: bool) -> tuple[Any, Any]:
    """An engine for the model, and its tokenizer."""
    import torch

    import peluche
    from peluche.generation.sampler import Sampler
    from peluche.inference.engine import Engine, EngineConfig
    from peluche.inference.runner import fastest_runner
    from peluche.inference.speculation import PromptLookup

    torch.set_num_threads(options["threads"])
    task = peluche.load(options["model"])
    model = task.model.eval()
    runner = fastest_runner(model, options["blocks"], weights=options["weights"])
    sampler = Sampler(task.tokenizer.special, model.vocabulary)
    # Nothing is left in memory of a round before.
    config = EngineConfig(running=running, prefix_cache=False)
    return Engine(runner, sampler, config, PromptLookup() if lookup else None), task.tokenizer


def request_round(options: Mapping[str, Any], running: int) -> Callable[[], Mapping[str, float]]:
    from peluche.data.builtin.corpus import generate
    from peluche.generation.requests import GenerationRequest

    engine, tokenizer = engine_of(options, running, lookup=False)
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


def copying_round(options: Mapping[str, Any], lookup: bool) -> Callable[[], Mapping[str, float]]:
    from peluche.generation.requests import GenerationRequest
    from peluche.generation.sampling import SamplingParameters

    engine, tokenizer = engine_of(options, 1, lookup)
    prompts = tokenizer.encode_batch([chat(question) for question in COPYING.values()])
    greedy = SamplingParameters(temperature=0)

    def run() -> Mapping[str, float]:
        figures = {"seconds": 0.0}
        for name, prompt in zip(COPYING, prompts, strict=True):
            before = engine.counters.written
            engine.add(GenerationRequest(tokens=prompt, max_tokens=96, sampling=greedy))
            while engine.counters.written == before:
                engine.step()
            written, started = engine.counters.written, time.perf_counter()
            while not engine.idle:
                engine.step()
            seconds = time.perf_counter() - started
            figures[name] = (engine.counters.written - written) / seconds
            figures["seconds"] += seconds
        done = engine.counters
        figures["right"] = done.accepted / done.drafted if done.drafted else 0.0
        figures["tokens"] = done.written
        return figures

    return run


def plainly(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    return copying_round(options, lookup=False)


def with_lookup(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    return copying_round(options, lookup=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=["requests", "copying"], default="requests")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--gap", type=float, default=0.1, help="mean seconds between arrivals")
    parser.add_argument("--blocks", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = vars(parser.parse_args(arguments))
    rows: list[list[str]]
    if options["task"] == "requests":
        found = compete(
            {"one by one": one_by_one, "together": together}, options, options["rounds"]
        )
        rows = [["", "tokens/s", "ratio", "s to the first token"]]
        base = found["one by one"].median("rate")
        for name, rounds in found.items():
            rate = rounds.median("rate")
            rows.append([name, f"{rate:.1f}", f"{rate / base:.2f}", f"{rounds.median('wait'):.2f}"])
    else:
        found = compete({"plain": plainly, "lookup": with_lookup}, options, options["rounds"])
        rows = [["tokens/s", "plain", "lookup", "ratio"]]
        for name in COPYING:
            plain, lookup = found["plain"].median(name), found["lookup"].median(name)
            rows.append([name, f"{plain:.1f}", f"{lookup:.1f}", f"{lookup / plain:.2f}"])
    print(table(rows))
    if options["task"] == "copying":
        print(f"\nguesses that were right: {found['lookup'].median('right'):.0%}")


if __name__ == "__main__":
    main()

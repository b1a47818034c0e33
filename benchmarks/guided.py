"""Text guided by random JSON schemas, each with a random seed and temperature: how much is invalid?

    python benchmarks/guided.py --logits random --out random.jsonl
    python benchmarks/guided.py --logits model --out model.jsonl

`random` takes every next token's logits from a table of random numbers, which tries a guide harder
than a model does; `model` lets the model write. Both use the model's tokenizer. Each case is a line
of --out; the same command again does the cases that are not there yet. Needs `jsonschema`.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from torch import Tensor

from peluche.errors import ConfigError
from peluche.generation.requests import GenerationRequest
from random_schemas import Schema, random_schema

PROMPT = "An example in JSON:\n"
FORMATS = FormatChecker(["uuid", "ipv4"])
# Random logits are rows of a table so large.
TABLE = 509
# What is added to random logits of tokens that close a string, list or object, and of [EOS].
CLOSING = 5.0


@FORMATS.checks("date", raises=ValueError)
def is_date(text: object) -> bool:
    """RFC 3339 has a year 0, which Python does not know: a leap year, as 2000 is."""
    if not isinstance(text, str):
        return True
    date.fromisoformat(text.replace("0000-", "2000-", 1))
    return re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None


# RFC 3339, §5.6.
TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?([Zz]|([+-][0-9]{2}):([0-9]{2}))")


@FORMATS.checks("time")
def is_time(text: object) -> bool:
    """A second 60 is the last of a day of UTC."""
    if not isinstance(text, str):
        return True
    found = TIME.fullmatch(text)
    if found is None:
        return False
    hour, minute, second = (int(found[place]) for place in (1, 2, 3))
    away = (int(found[5]), int(found[5][0] + found[6])) if found[5] else (0, 0)
    of_day = (60 * (hour - away[0]) + minute - away[1]) % (24 * 60)
    last = second < 60 or (second == 60 and of_day == 24 * 60 - 1)
    return hour < 24 and minute < 60 and last and abs(away[0]) < 24 and abs(away[1]) < 60


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(text: object) -> bool:
    """A date, a T and a time."""
    if not isinstance(text, str):
        return True
    return text[10:11] in ("T", "t") and is_date(text[:10]) and is_time(text[11:])


def case(number: int, prompt: Sequence[int], max_tokens: int) -> GenerationRequest:
    """The request of one case: schema, temperature and seed follow from its number."""
    draw = random.Random(number)
    return GenerationRequest.parse(
        {
            "tokens": prompt,
            "max_tokens": max_tokens,
            "sampling": {
                "temperature": draw.choice([0.3, 0.7, 1.0, 1.5]),
                "top_p": draw.choice([0.9, 1.0]),
                "seed": number,
            },
            "guide": {
                "kind": "json_schema",
                "json_schema": random_schema(number),
                "whitespace": draw.choice([0, 4, 40]),
            },
        }
    )


def complaint(text: str, schema: Schema) -> str | None:
    """What is wrong with a text by a schema; None if nothing is."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    error = best_match(Draft202012Validator(schema, format_checker=FORMATS).iter_errors(value))
    return None if error is None else str(error.message)


class RandomRunner:
    """A `peluche.inference.runner.Runner` without a model: the last token and its place choose a
    row of random logits.
    """

    block_size, blocks, longest, window = 16, 4096, None, None

    def __init__(self, spelt: dict[int, bytes], vocabulary: int, eos: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.vocabulary = vocabulary
        self.table = torch.randn(TABLE, vocabulary, generator=generator) * 2
        closing = [number for number, text in spelt.items() if text[:1] in (b'"', b"]", b"}")]
        self.table[:, [*closing, eos]] += CLOSING

    def run(self, chunks: Sequence[Any]) -> Tensor:
        rows = [
            (31 * (chunk.start + at) + 7 * chunk.tokens[at]) % TABLE
            for chunk in chunks
            for at in range(len(chunk.tokens) - chunk.wanted, len(chunk.tokens))
        ]
        return self.table[rows]

    def copy(self, source: int, target: int) -> None:
        pass


def results(
    engine: Any, requests: dict[int, GenerationRequest], decode: Any, eos: int
) -> Iterator[dict[str, Any]]:
    """What became of each case, as it ends."""
    running: dict[int, int] = {}
    written: dict[int, list[int]] = {}
    for number, request in requests.items():
        try:
            key = engine.add(request)
        except ConfigError as error:
            yield {"case": number, "outcome": "refused", "tokens": 0, "why": error.what}
            continue
        running[key], written[key] = number, []
    while not engine.idle:
        for event in engine.step():
            if hasattr(event, "chosen"):
                written[event.key].append(event.chosen.token)
                continue
            number, tokens = running.pop(event.key), written.pop(event.key)
            text = decode([token for token in tokens if token != eos])
            result = {"case": number, "outcome": "valid", "tokens": len(tokens), "text": text}
            guide = requests[number].guide
            if event.reason == "length":
                result["outcome"] = "cut"
            elif event.reason != "stop":
                result |= {"outcome": "failed", "why": str(event.error)}
            elif (why := complaint(text, guide.json_schema)) is not None:
                result |= {"outcome": "invalid", "why": why}
            yield result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--logits", choices=["random", "model"], default="random")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument(
        "--block", type=int, default=256, help="cases given to the engine at a time"
    )
    parser.add_argument("--max-tokens", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    import peluche
    from peluche.generation.guides import GuideFactory
    from peluche.generation.sampler import Sampler
    from peluche.inference.engine import Engine
    from peluche.inference.runner import fastest_runner
    from peluche.nn.machine import tune_allocator
    from peluche.text.token_bytes import token_bytes

    tune_allocator()
    completer = peluche.load(options.model)
    tokenizer, vocabulary = completer.tokenizer, len(completer.model.head.weight)
    if options.logits == "random":
        runner: Any = RandomRunner(token_bytes(tokenizer), vocabulary, tokenizer.eos_id)
    else:
        runner = fastest_runner(completer.model, 32 * (options.max_tokens // 16 + 2))
    guides = GuideFactory(tokenizer, vocabulary)
    engine = Engine(runner, Sampler(tokenizer.special, vocabulary, guides))
    prompt = tokenizer.encode(PROMPT)
    lines = options.out.read_text("utf-8").splitlines() if options.out.exists() else []
    done = Counter[str]()
    known = set()
    for line in lines:
        result = json.loads(line)
        known.add(result["case"])
        done[result["outcome"]] += 1
    left = [number for number in range(options.cases) if number not in known]
    started, tokens = time.perf_counter(), 0
    with options.out.open("a", encoding="utf-8") as out, torch.inference_mode():
        for at in range(0, len(left), options.block):
            numbers = left[at : at + options.block]
            requests = {number: case(number, prompt, options.max_tokens) for number in numbers}
            for result in results(engine, requests, tokenizer.decode, tokenizer.eos_id):
                done[result["outcome"]] += 1
                tokens += result["tokens"]
                print(json.dumps(result, ensure_ascii=False), file=out, flush=True)
            rate = tokens / (time.perf_counter() - started)
            print(
                f"{done.total()} of {options.cases}: {dict(done)}, {rate:.0f} tokens/s",
                file=sys.stderr,
            )
    print(f"| cases | {' | '.join(done)} |")
    print(f"| {done.total()} | {' | '.join(str(count) for count in done.values())} |")


if __name__ == "__main__":
    main()

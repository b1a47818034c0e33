"""Generation on a CPU against llama.cpp and transformers, and what it costs.

    python benchmarks/generate.py --rounds 5
    python benchmarks/generate.py --only perplexity
    python benchmarks/generate.py --only context --picture docs/images/context.svg

`speed`: one request and eight, a prompt of 64 tokens and 128 new ones, and requests that are copied
from their prompts, of which peluche alone guesses; contestants take turns in processes of their
own. llama.cpp runs in three formats (package xllamacpp), transformers in two; who is not installed
is left out. `perplexity`: of the weights and roundings that are timed, by the rule of `peluche
perplexity`. `context`: a step's and a chunk's time by what was read before. `profile`: where a
step's time goes. `runners`: what a step takes without compiled code, and with other weights.
`families`: what it takes in processor time on one thread, by the sizes of models other than Llama.
"""

from __future__ import annotations

import peluche  # before torch, whose threads it sets up

# isort: split
import argparse
import functools
import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from serve_requests import COPYING, chat
from side_by_side import Setup, compete, table

PROMPT, MANY, BYTES, WINDOW = 64, 8, 20_000, 512
CONTEXTS = [128, 512, 1024, 2048, 4096, 8000]
FIGURES = {
    "one": "batch 1",
    "many": f"batch {MANY}",
    "prefill": "prefill",
    "copying": "copying",
    "wait": "ms to the first token",
    "resident": "memory, MiB",
}


def prompts_of(tokenizer: Any) -> list[list[int]]:
    """Eight prompts of 64 tokens, of sentences of the built-in corpus."""
    from peluche.data.builtin.corpus import generate

    text = " ".join(english for english, _ in generate("train", 400, seed=0))
    tokens = tokenizer.encode_batch([text])[0]
    return [tokens[start * PROMPT :][:PROMPT] for start in range(MANY)]


def copied(tokenizer: Any) -> list[list[int]]:
    return tokenizer.encode_batch([chat(question) for question in COPYING.values()])


def resident() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def opened(options: Mapping[str, Any]) -> Any:
    import torch

    torch.set_num_threads(options["threads"])
    return peluche.load(options["model"])


def ours(options: Mapping[str, Any], weights: str) -> Callable[[], Mapping[str, float]]:
    """The engine, sampler and all."""
    from peluche.generation.requests import GenerationRequest
    from peluche.generation.sampler import Sampler
    from peluche.generation.sampling import SamplingParameters
    from peluche.inference.engine import Engine, EngineConfig
    from peluche.inference.runner import fastest_runner
    from peluche.inference.speculation import PromptLookup

    task = opened(options)
    special, vocabulary = task.tokenizer.special, task.model.vocabulary
    runner = fastest_runner(task.model.eval(), 512, weights=weights)
    prompts, copies = prompts_of(task.tokenizer), copied(task.tokenizer)
    del task.model
    greedy = SamplingParameters(temperature=0)

    def generated(prompts: Sequence[list[int]], drafter: Any = None) -> tuple[float, float, int]:
        """Seconds to the first token of all, seconds after it, and tokens."""
        config = EngineConfig(running=MANY, prefix_cache=False)
        engine = Engine(runner, Sampler(special, vocabulary), config, drafter)
        for prompt in prompts:
            asked = GenerationRequest(
                tokens=prompt, max_tokens=options["new"], sampling=greedy, ignore_eos=True
            )
            engine.add(asked)
        started = time.perf_counter()
        while engine.counters.written < len(prompts):
            engine.step()
        first = time.perf_counter()
        while not engine.idle:
            engine.step()
        return first - started, time.perf_counter() - first, engine.counters.written

    def run() -> Mapping[str, float]:
        wait, after, written = generated(prompts[:1])
        many_wait, many_after, many_written = generated(prompts)
        copying = [generated([prompt], PromptLookup()) for prompt in copies]
        return {
            "seconds": wait + after + many_wait + many_after,
            "one": (written - 1) / after,
            "many": many_written / (many_wait + many_after),
            "prefill": PROMPT / wait,
            "copying": sum(one[2] - 1 for one in copying) / sum(one[1] for one in copying),
            "wait": 1000 * wait,
            "resident": resident(),
        }

    return run


def llama(options: Mapping[str, Any], format: str) -> Callable[[], Mapping[str, float]]:
    """llama.cpp by its own server's timings; several requests are sent at once."""
    import xllamacpp

    tokenizer = opened(options).tokenizer
    prompts, copies = prompts_of(tokenizer), copied(tokenizer)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options["files"][format]
    parameters.n_ctx, parameters.n_parallel = MANY * 512, MANY
    parameters.verbosity = 1  # errors only
    parameters.cpuparams.n_threads = options["threads"]
    parameters.cpuparams_batch.n_threads = options["threads"]
    server = xllamacpp.Server(parameters)

    def generated(prompt: list[int]) -> Mapping[str, float]:
        asked = {"prompt": prompt, "n_predict": options["new"], "temperature": 0.0}
        answer = server.handle_completions({**asked, "ignore_eos": True, "cache_prompt": False})
        return answer["timings"]

    def run() -> Mapping[str, float]:
        started = time.perf_counter()
        alone = generated(prompts[0])
        before = time.perf_counter()
        with ThreadPoolExecutor(MANY) as pool:
            together = list(pool.map(generated, prompts))
        seconds = time.perf_counter() - before
        copying = [generated(prompt) for prompt in copies]
        return {
            "seconds": time.perf_counter() - started,
            "one": alone["predicted_per_second"],
            "many": sum(each["predicted_n"] for each in together) / seconds,
            "prefill": alone["prompt_per_second"],
            "copying": sum(each["predicted_n"] for each in copying)
            / sum(each["predicted_ms"] / 1000 for each in copying),
            "wait": alone["prompt_ms"],
            "resident": resident(),
        }

    return run


def theirs(options: Mapping[str, Any], precision: str) -> Callable[[], Mapping[str, float]]:
    """`generate` of transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = opened(options).tokenizer
    prompts = torch.tensor(prompts_of(tokenizer))
    model = AutoModelForCausalLM.from_pretrained(
        options["files"]["huggingface"], dtype=getattr(torch, precision)
    ).eval()

    def generated(prompts: torch.Tensor, new: int) -> float:
        started = time.perf_counter()
        model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=False,
            min_new_tokens=new,
            max_new_tokens=new,
            pad_token_id=0,
        )
        return time.perf_counter() - started

    def run() -> Mapping[str, float]:
        wait = generated(prompts[:1], 1)
        whole, many = generated(prompts[:1], options["new"]), generated(prompts, options["new"])
        return {
            "seconds": wait + whole + many,
            "one": (options["new"] - 1) / (whole - wait),
            "many": MANY * options["new"] / many,
            "prefill": PROMPT / wait,
            "copying": math.nan,
            "wait": 1000 * wait,
            "resident": resident(),
        }

    return run


def speed(options: dict[str, Any]) -> None:
    """Medians of rounds in turn, and ratios to the best of llama.cpp."""
    contestants: dict[str, Setup] = {
        f"peluche {weights}": functools.partial(ours, weights=weights)
        for weights in ("auto", "float32")
    }
    with tempfile.TemporaryDirectory() as folder:
        formats, precisions = [], []
        if importlib.util.find_spec("xllamacpp") is None:
            print("without llama.cpp: xllamacpp is not installed")
        else:
            formats = ["Q4_1", "Q4_0", "Q8_0"]
        if importlib.util.find_spec("transformers") is None:
            print("without transformers: it is not installed")
        else:
            precisions = ["float32", "bfloat16"]
        options["files"] = files(options, Path(folder), formats, bool(precisions))
        for format in formats:
            if format in options["files"]:
                contestants[f"llama.cpp {format}"] = functools.partial(llama, format=format)
        for precision in precisions:
            contestants[f"transformers {precision}"] = functools.partial(
                theirs, precision=precision
            )
        found = compete(contestants, options, options["rounds"])
    rows = [["tokens/s", *FIGURES.values()]]
    for name, rounds in found.items():
        rows.append([name, *(written(rounds.figures[key]) for key in FIGURES)])
    print(table(rows))
    peers = {
        "the best of llama.cpp": [name for name in found if name.startswith("llama.cpp")],
        "transformers float32": [name for name in found if name.endswith("s float32")],
    }
    rows = [["ratio", *list(FIGURES.values())[:4]]]
    for peer, names in peers.items():
        for own in ("peluche auto", "peluche float32"):
            ratios = []
            for key in list(FIGURES)[:4]:
                best = max((found[name].median(key) for name in names), default=math.nan)
                ratios.append("" if math.isnan(best) else f"{found[own].median(key) / best:.2f}")
            if names:
                rows.append([f"{own} to {peer}", *ratios])
    print()
    print(table(rows))


def files(
    options: Mapping[str, Any], folder: Path, formats: Sequence[str], huggingface: bool
) -> dict[str, str]:
    """The weights, as peers read them."""
    from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder

    task = opened(options)
    parts = task.model.config, task.model.state_dict(), task.tokenizer
    found = {}
    for format in formats:
        if format == "Q4_1":
            published = published_file(options["model"])
            if published is not None:
                found[format] = str(published)
            continue
        path = folder / f"{format}.gguf"
        export_gguf(*parts, path, format)
        found[format] = str(path)
    if huggingface:
        export_huggingface_decoder(*parts, folder / "huggingface")
        found["huggingface"] = str(folder / "huggingface")
    return found


def published_file(model: str) -> Path | None:
    """The file of four bits that a catalogue's model comes as, if it does."""
    from peluche.hub.model_catalogue import find_pretrained, pretrained_models

    folder = find_pretrained(model) if model in pretrained_models() else None
    if folder is None:
        return None
    return next(iter([folder] if folder.is_file() else folder.rglob("*Q4_1*.gguf")), None)


def written(values: Sequence[float]) -> str:
    """A median with its range."""
    if math.isnan(values[0]):
        return ""
    return f"{statistics.median(values):,.1f} ({min(values):,.1f}–{max(values):,.1f})"


def perplexity(options: Mapping[str, Any]) -> None:
    """20,000 bytes of tinyshakespeare in windows of 512 tokens."""
    import torch
    from torch.nn import functional as F

    from peluche.data.locate import provide
    from peluche.inference.half import HalfRunner
    from peluche.inference.native.runner import NativeRunner
    from peluche.inference.runner import Chunk
    from peluche.tasks.perplexity import window_likelihood

    task = opened(options)
    model = task.model.eval()
    text = provide("tinyshakespeare", "input.txt").read_bytes()[:BYTES].decode()
    exact = window_likelihood(model, task.tokenizer, text, WINDOW).nll
    tokens = task.tokenizer.encode(text)
    rows = [["weights", "keys and values", "nll", "perplexity against the model", "weights, MB"]]
    rows.append(["float32, torch", "float32", f"{exact:.5f}", "", ""])
    without_compiler = "float16, torch"
    for weights, kv_cache in (
        *((weights, "float32") for weights in ("float32", "float16", "auto", "int8", "int4")),
        *((weights, kv) for weights in ("float32", "auto") for kv in ("float16", "int8")),
        (without_compiler, "float32"),
    ):
        runner: Any
        if weights == without_compiler:
            runner = HalfRunner(model, WINDOW // 16, 16)
        else:
            runner = NativeRunner(model, WINDOW // 16, 16, weights, kv_cache)  # type: ignore[arg-type]
        total, count = 0.0, 0
        for start in range(0, len(tokens) - 1, WINDOW):
            window = tokens[start : start + WINDOW]
            read, blocks = len(window) - 1, range(WINDOW // 16)
            logits = runner.run([Chunk(window[:-1], 0, blocks, read)])
            total += F.cross_entropy(logits, torch.tensor(window[1:]), reduction="sum").item()
            count += read
        change = math.expm1(total / count - exact)
        size = f"{runner.packed_bytes / 1e6:.0f}" if isinstance(runner, NativeRunner) else ""
        rows.append([weights, kv_cache, f"{total / count:.5f}", f"{change:+.3%}", size])
    print(table(rows))


def context(options: Mapping[str, Any]) -> None:
    """A token's time, and that of a chunk of 256, after so many tokens were read."""
    from peluche.inference.native.runner import NativeRunner
    from peluche.inference.native.structures import KV_CACHES
    from peluche.inference.runner import Chunk

    model = opened(options).model.eval()
    series: dict[str, list[float]] = {}
    blocks, chunk = range(CONTEXTS[-1] // 16 + 17), list(range(1000, 1256))
    for kv_cache in KV_CACHES:
        runner = NativeRunner(model, len(blocks), 16, kv_cache=kv_cache)
        runner.memory.zero_()
        for what, tokens in (("a token", [1000]), ("a chunk of 256", chunk)):
            series[f"{what}, {kv_cache}"] = [
                timed(
                    functools.partial(runner.run, [Chunk(tokens, past, blocks, 1)]),
                    options["rounds"] * (4 if len(tokens) == 1 else 1),
                )
                for past in CONTEXTS
            ]
    rows = [["ms; keys and values", *(f"{past:,}" for past in CONTEXTS)]]
    rows += [[name, *(f"{value:.1f}" for value in values)] for name, values in series.items()]
    print(table(rows))
    if options["picture"]:
        draw(series, options["picture"])


def timed(run: Callable[[], Any], times: int) -> float:
    """The median, in ms, after one that does not count."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken[1:])


def draw(series: Mapping[str, Sequence[float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((9, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for side, what in zip(axes, ("a token", "a chunk of 256"), strict=True):
        for name, values in series.items():
            if name.startswith(what):
                side.plot(CONTEXTS, values, "o-", label=name.split(", ")[1])
        side.set_title(what)
        side.set_xlabel("tokens read before")
        side.set_ylabel("ms")
        side.set_ylim(bottom=0)
        side.grid(alpha=0.3)
        side.legend(title="keys and values")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def steps() -> dict[str, list[Any]]:
    """A step of one row, of eight, and of a prompt."""
    from peluche.inference.runner import Chunk

    chunks = {}
    for name, count, tokens in (("1 row", 1, 1), (f"{MANY} rows", MANY, 1), ("prompt", 1, PROMPT)):
        read, start = list(range(1000, 1000 + tokens)), 128 if tokens == 1 else 0
        chunks[name] = [
            Chunk(read, start, range(place * 16, place * 16 + 16), 1) for place in range(count)
        ]
    return chunks


def profile(options: Mapping[str, Any]) -> None:
    """Means over steps: parts of the operator, and the rest of `NativeRunner.run`."""
    from peluche.inference.native.runner import NativeRunner
    from peluche.inference.native.structures import PHASES

    runner = NativeRunner(opened(options).model.eval(), 512, 16)
    runner.memory.zero_()
    columns = {}
    for name, chunks in steps().items():
        runner.run(chunks)
        runner.seconds[:] = 0
        started, times = time.perf_counter(), 10 * options["rounds"]
        for _ in range(times):
            runner.run(chunks)
        whole = 1000 * (time.perf_counter() - started) / times
        inside = list(1000 * runner.seconds / times)
        columns[name] = [*inside, whole - sum(inside), whole]
    rows = [["ms", *columns]]
    for place, part in enumerate([*PHASES, "around the operator", "all"]):
        rows.append([part, *(f"{values[place]:.2f}" for values in columns.values())])
    print(table(rows))


# Attributes of a block whose products each counted part of the operator does.
PRODUCTS = {
    "query, key, value": ("self_attention.query", "self_attention.key", "self_attention.value"),
    "output": ("self_attention.out",),
    "gate and up": ("feed_forward.gate", "feed_forward.up"),
    "down": ("feed_forward.down",),
}


def products(options: Mapping[str, Any]) -> None:
    """The operator's products of a prompt in float32, and PyTorch's of the same, in turn."""
    import torch

    from peluche.inference.native.runner import NativeRunner
    from peluche.inference.native.structures import PHASES
    from peluche.inference.runner import Chunk
    from peluche.nn.machine import product_rate

    model = opened(options).model.eval()
    runner = NativeRunner(model, 64, 16, "float32")
    rows = [["tokens", "", *PRODUCTS, "all", "whole step"]]
    for tokens in (64, 256, 512):
        chunks = [Chunk(list(range(1000, 1000 + tokens)), 0, range(tokens // 16), 1)]
        weights = {
            part: [
                block.get_submodule(name).weight.data
                for block in model.decoder.blocks
                for name in names
            ]
            for part, names in PRODUCTS.items()
        }
        inputs = {
            each.shape[1]: torch.randn(tokens, each.shape[1])
            for part in weights.values()
            for each in part
        }
        ours: list[list[float]] = []
        theirs: list[list[float]] = []
        for _ in range(options["rounds"] + 1):
            runner.seconds[:] = 0
            started = time.perf_counter()
            runner.run(chunks)
            step = time.perf_counter() - started
            found = [runner.seconds[PHASES.index(part)] for part in PRODUCTS]
            ours.append([*found, sum(found), step])
            found = []
            for part in weights.values():
                started = time.perf_counter()
                for weight in part:
                    torch.nn.functional.linear(inputs[weight.shape[1]], weight)
                found.append(time.perf_counter() - started)
            theirs.append([*found, sum(found)])
        medians = [
            [1000 * statistics.median(each) for each in zip(*values[1:], strict=True)]
            for values in (ours, theirs)
        ]
        share = [f"{b / a:.0%}" for a, b in zip(*medians, strict=False)]
        for who, values in zip(("operator", "PyTorch"), medians, strict=True):
            rows.append([str(tokens), f"{who}, ms", *(f"{value:.1f}" for value in values)])
        rows[-1].append("")
        flops = 2 * tokens * sum(each.numel() for part in weights.values() for each in part)
        rate = f"{flops / medians[0][-2] / 1e6:.0f} GFLOP/s"
        rows.append([str(tokens), "of PyTorch's rate", *share, rate])
    print(table(rows))
    square = product_rate(torch.device("cpu")) / 1e9
    print(f"\nPyTorch's products of 1024 x 1024 matrices: {square:.0f} GFLOP/s")


def runners(options: Mapping[str, Any]) -> None:
    """Medians of a step's time, by who runs it."""
    from peluche.inference.half import HalfRunner
    from peluche.inference.native.runner import NativeRunner
    from peluche.inference.torch_runner import TorchRunner

    model = opened(options).model.eval()
    makers: dict[str, Callable[[], Any]] = {
        **{
            f"operator, {weights}": functools.partial(NativeRunner, model, 512, 16, weights)
            for weights in ("auto", "int8", "float16", "float32")
        },
        "PyTorch, float32": functools.partial(TorchRunner, model, 512, 16),
        "PyTorch, float16": functools.partial(HalfRunner, model, 512, 16),
    }
    rows = [["ms", *steps()]]
    for name, make in makers.items():
        runner = make()
        found = []
        for chunks in steps().values():
            run = functools.partial(runner.run, chunks)
            found.append(f"{timed(run, 4 * options['rounds']):.1f}")
        rows.append([name, *found])
    print(table(rows))


# As published; weights are random.
LIKE_LLAMA = {"norm": "rmsnorm", "activation": "swiglu", "bias": False, "dropout": 0.0}
FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "Qwen2.5-0.5B": (
        151_936,
        {"d_model": 896, "layers": 24, "heads": 14, "kv_heads": 2, "d_ff": 4864, "qkv_bias": True},
    ),
    "Qwen3-0.6B": (
        151_936,
        {"d_model": 1024, "layers": 28, "heads": 16, "kv_heads": 8, "head_width": 128}
        | {"d_ff": 3072, "qk_norm": True},
    ),
    "Gemma-3-270M": (
        262_144,
        {"d_model": 640, "layers": 18, "heads": 4, "kv_heads": 1, "head_width": 256, "d_ff": 2048}
        | {"activation": "geglu_tanh", "norm_placement": "sandwich", "scale_embeddings": True}
        | {"qk_norm": True, "window": {"size": 512, "global_every": 6}},
    ),
}


def families(options: Mapping[str, Any]) -> None:
    """The least processor time of a step, by who runs it."""
    import torch

    from peluche.inference.native.runner import NativeRunner
    from peluche.inference.torch_runner import TorchRunner
    from peluche.models.decoder import DecoderConfig

    torch.set_num_threads(1)
    rows = [["ms", "", *steps()]]
    for name, (vocabulary, parts) in FAMILIES.items():
        model = DecoderConfig(**(LIKE_LLAMA | parts)).build(vocabulary).eval()
        for who, kind in (("operator, auto", NativeRunner), ("PyTorch, float32", TorchRunner)):
            runner = kind(model, 128, 16)
            found = [least(functools.partial(runner.run, chunks)) for chunks in steps().values()]
            rows.append([name, who, *(f"{value:.0f}" for value in found)])
            del runner
    print(table(rows))


def least(run: Callable[[], Any], times: int = 5) -> float:
    """The least processor time, in ms, after one that does not count."""
    run()
    taken = []
    for _ in range(times):
        started = time.process_time()
        run()
        taken.append(1000 * (time.process_time() - started))
    return min(taken)


PARTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "speed": speed,
    "perplexity": perplexity,
    "context": context,
    "profile": profile,
    "products": products,
    "runners": runners,
    "families": families,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=list(PARTS), help="one part; all unless given")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--new", type=int, default=128, help="tokens to generate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="of the cost against the context")
    options = vars(parser.parse_args(arguments))

    import torch

    from peluche.inference.native.build import chosen_level
    from peluche.nn.machine import describe_machine

    torch.set_num_threads(options["threads"])
    print(f"{describe_machine()}, {chosen_level()}\n")
    for name, part in PARTS.items():
        if options["only"] in (None, name):
            print(f"## {name}\n")
            part(options)
            print()


if __name__ == "__main__":
    main()

"""Translation speed side by side: peluche, transformers' `generate`, CTranslate2; equal weights.

    python benchmarks/translate.py [RUN] [--source FILE]

Without a run, a model with random weights is made that writes until its limit. All engines run in
this process, by turns, over the same sentences, which are cut into tokens beforehand, with the same
number of threads. `generate` is measured twice: on batches of 32 in the order given, as most
programs call it, and on the batches that suit it best, long sentences and short ones apart.
Printed are median, least and most seconds, the median ratio to peluche, and how many outputs
differ from peluche's; of those, how many though no two candidates were nearly equal.
"""

from __future__ import annotations

import peluche  # noqa: F401, before torch, whose threads it sets up

# isort: split
import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from peluche.data.builtin import generate as builtin_pairs
from peluche.data.readers import read_lines
from peluche.errors import ConfigError
from peluche.generation.batching import batches, generate
from peluche.generation.config import DecodingConfig
from peluche.generation.search import Request
from peluche.hub.ctranslate2 import export_ctranslate2
from peluche.hub.huggingface import export_huggingface
from peluche.hub.resolve import resolve
from peluche.inference.decoding import PackedDecoder
from peluche.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from peluche.nn.machine import describe_machine, tune_allocator
from peluche.tasks.restore import restore_model
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

TIE = 1e-4
BOS, EOS, PAD = Tokenizer.bos_id, Tokenizer.eos_id, Tokenizer.pad_id
Ids = list[list[int]]


@dataclass
class Setting:
    """What is translated, and how."""

    model: EncoderDecoder
    tokenizer: Tokenizer
    sources: Ids
    config: DecodingConfig
    threads: int
    folder: Path

    def limits(self) -> list[int]:
        return [self.config.limit(len(source)) for source in self.sources]


@dataclass
class Engine:
    """One way to translate: `run` gives target ids, without [EOS], in the order of the sources."""

    name: str
    run: Callable[[], Ids]
    seconds: list[float] = field(default_factory=list)
    output: Ids = field(default_factory=list)


def random_run(options: argparse.Namespace) -> tuple[EncoderDecoder, Tokenizer, Ids]:
    """A model with random weights that never ends by itself, and random sentences."""
    words = " ".join(f"w{number}" for number in range(options.vocabulary - 4))
    tokenizer = TokenizerConfig(kind="word", vocab_size=options.vocabulary).build([words])
    config = EncoderDecoderConfig(
        d_model=options.d_model,
        layers=options.layers,
        heads=max(1, options.d_model // 64),
        d_ff=4 * options.d_model,
        norm_placement="post",
    )
    torch.manual_seed(1)
    model = config.build(len(tokenizer)).eval()
    with torch.no_grad():
        away = -torch.nn.functional.normalize(model.head.weight[EOS], dim=0)
        model.decoder.blocks[-1].feed_forward_residual.norm.bias.copy_(8 * away)
    random = np.random.default_rng(2)
    lengths = random.gamma(9.0, 1.6, options.sentences).astype(int).clip(3, 50)
    return model, tokenizer, [random.integers(4, len(tokenizer), n).tolist() for n in lengths]


def trained_run(options: argparse.Namespace) -> tuple[EncoderDecoder, Tokenizer, Ids]:
    """A trained model; the first sentences of a file, or of the built-in corpus's test set."""
    run = resolve(options.run)
    tokenizer = run.tokenizer()
    if options.source:
        lines = [line for line in read_lines(options.source) if line.strip()]
    else:
        lines = [source for source, _ in builtin_pairs("test", options.sentences, 0)]
    model = restore_model(run, len(tokenizer))
    return model, tokenizer, tokenizer.encode_batch(lines[: options.sentences])


def peluche_engine(setting: Setting) -> list[Engine]:
    decoder = PackedDecoder(setting.model)
    requests = [
        Request([*source, EOS], limit)
        for source, limit in zip(setting.sources, setting.limits(), strict=True)
    ]

    def run() -> Ids:
        found = generate(decoder, requests, setting.config, scores=False)
        return [results[0].tokens for results in found]

    return [Engine("peluche", run)]


def transformers_engines(setting: Setting) -> list[Engine]:
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    export_huggingface(
        setting.model.config, setting.model.state_dict(), setting.tokenizer, setting.folder / "hf"
    )
    model = AutoModelForSeq2SeqLM.from_pretrained(setting.folder / "hf").eval()
    config, sources, limits = setting.config, setting.sources, setting.limits()

    def translate(rows: Sequence[int]) -> Ids:
        ids = torch.full((len(rows), max(len(sources[row]) for row in rows) + 1), PAD)
        for at, row in enumerate(rows):
            ids[at, : len(sources[row]) + 1] = torch.tensor([*sources[row], EOS])
        written = model.generate(
            input_ids=ids,
            attention_mask=(ids != PAD).long(),
            num_beams=config.rows,
            early_stopping="never" if config.rows > 1 else False,
            length_penalty=config.length_penalty,
            max_new_tokens=max(limits[row] for row in rows),
            do_sample=False,
        )
        return [until_end(row[1:]) for row in written.tolist()]

    def run(plan: Sequence[Sequence[int]]) -> Ids:
        output: Ids = [[] for _ in sources]
        for rows in plan:
            for row, result in zip(rows, translate(rows), strict=True):
                output[row] = result
        return output

    in_order = [range(at, min(at + 32, len(sources))) for at in range(0, len(sources), 32)]
    sorted_rows = batches([len(source) + 1 for source in sources], 4096 // config.rows)
    return [
        Engine("transformers, by 32", lambda: run(in_order)),
        Engine("transformers, sorted", lambda: run(sorted_rows)),
    ]


def ctranslate2_engine(setting: Setting) -> list[Engine]:
    import ctranslate2

    export_ctranslate2(
        setting.model.config, setting.model.state_dict(), setting.tokenizer, setting.folder / "ct2"
    )
    names = setting.tokenizer.tokens()
    ids = {name: number for number, name in enumerate(names)}
    pieces = [[names[token] for token in source] for source in setting.sources]
    model = ctranslate2.Translator(
        str(setting.folder / "ct2"),
        compute_type="float32",
        intra_threads=setting.threads,
        inter_threads=1,
    )

    def run() -> Ids:
        found = model.translate_batch(
            pieces,
            beam_size=setting.config.rows,
            length_penalty=setting.config.length_penalty,
            max_decoding_length=max(setting.limits()),
            max_batch_size=4096,
            batch_type="tokens",
        )
        return [[ids[token] for token in result.hypotheses[0]] for result in found]

    return [Engine("ctranslate2", run)]


def until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(EOS)] if EOS in tokens else [t for t in tokens if t != PAD]


def score(model: EncoderDecoder, source: list[int], target: list[int]) -> tuple[float, Tensor]:
    """Mean log-probability of a target with [EOS]; each step's distance of the two best logits."""
    ids = torch.tensor([[*source, EOS]])
    with torch.inference_mode():
        memory = model.encode(ids, torch.ones_like(ids, dtype=torch.bool))
        logits = model.logits(model.hidden(torch.tensor([[BOS, *target]]), condition=memory))[0]
        steps = logits.log_softmax(-1).gather(1, torch.tensor([*target, EOS])[:, None])
        best = logits[:, EOS:].topk(2).values
    return float(steps.mean()), best[:, 0] - best[:, 1]


def disagreements(setting: Setting, mine: Engine, other: Engine) -> tuple[int, int]:
    """How many outputs differ, and how many though no two candidates were nearly equal.

    Sentences that reach the limit are compared up to there: engines end them differently. A beam
    search may stop earlier than ours, so there only a better translation is unexplained.
    """
    differ, unexplained = 0, 0
    for source, limit, here, there in zip(
        setting.sources, setting.limits(), mine.output, other.output, strict=True
    ):
        cut = max(len(here), len(there)) >= limit - 1
        length = min(len(here), len(there), limit - 1)
        if here == there or (cut and here[:length] == there[:length]):
            continue
        differ += 1
        first = next((i for i in range(length) if here[i] != there[i]), length)
        (ours, gaps), (theirs, _) = (score(setting.model, source, t) for t in (here, there))
        greedy = setting.config.rows == 1
        unexplained += float(gaps[first]) > TIE if greedy else not cut and theirs - ours > TIE
    return differ, unexplained


def measure(engines: list[Engine], repeats: int) -> None:
    for engine in engines:
        engine.output = engine.run()
    for _ in range(repeats):
        for engine in engines:
            start = time.perf_counter()
            engine.run()
            engine.seconds.append(time.perf_counter() - start)


def show(setting: Setting, engines: list[Engine]) -> None:
    mine = engines[0]
    count, tokens = len(setting.sources), sum(len(target) + 1 for target in mine.output)
    kind = "greedy" if setting.config.rows == 1 else f"beam {setting.config.rows}"
    print(f"\n{kind}: {count} sentences, {tokens} tokens")
    columns = ("median s", "min s", "max s", "sent/s", "tokens/s", "ratio", "differ", "unexplained")
    print(" " * 21 + "".join(f"{name:>12}" for name in columns))
    for engine in engines:
        pairs = zip(engine.seconds, mine.seconds, strict=True)
        median = statistics.median(engine.seconds)
        differ, unexplained = disagreements(setting, mine, engine)
        print(
            f"{engine.name:<21}{median:12.2f}{min(engine.seconds):12.2f}{max(engine.seconds):12.2f}"
            f"{count / median:12.1f}{tokens / median:12.0f}"
            f"{statistics.median(theirs / ours for theirs, ours in pairs):12.2f}"
            f"{differ:12d}{unexplained:12d}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", help="run directory; random weights without one")
    parser.add_argument("--source", help="file of sentences; the built-in test set without one")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beams", type=int, nargs="*", default=[1, 5])
    parser.add_argument("--d-model", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--without", nargs="*", default=[], help="parts of engines' names")
    options = parser.parse_args()
    tune_allocator()
    torch.set_num_threads(options.threads)
    loaded = trained_run(options) if options.run else random_run(options)
    limits = {} if options.run else {"max_length_factor": 0.0, "max_length_offset": 20}
    print(describe_machine())
    for beams in options.beams:
        kind = "greedy" if beams == 1 else "beam"
        config = DecodingConfig.parse({"kind": kind, "beams": beams} | limits)
        engines = []
        with tempfile.TemporaryDirectory() as folder:
            setting = Setting(*loaded, config, options.threads, Path(folder))
            for make in (peluche_engine, transformers_engines, ctranslate2_engine):
                try:
                    engines += make(setting)
                except ConfigError as error:
                    print(f"left out: {error.what}")
        engines = [e for e in engines if not any(part in e.name for part in options.without)]
        measure(engines, options.repeats)
        show(setting, engines)


if __name__ == "__main__":
    main()

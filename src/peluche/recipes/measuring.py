"""What a plan starts from: how large the texts are, and how fast this machine is with a recipe."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from peluche.data.packing import LanguageBatch
from peluche.data.text_parts import Texts
from peluche.data.text_sources import Mixture, sample
from peluche.processes import joined
from peluche.recipes.language import LanguageRecipe
from peluche.training.evaluators import mean_losses

SAMPLE_BYTES = 4 << 20
WARM, FEWEST, TIMING = 2, 3, 1.0  # steps passed over, steps timed, seconds spent on it


@dataclass(frozen=True)
class Corpus:
    """What the plan has to know of the texts; tokens are estimated from the first 4 MiB."""

    vocabulary: int
    training: float
    validation: float
    seconds: float


def corpus_name(source: Texts | Mixture) -> str:
    """What a law is said to hold for: the path, or the settings of a source without one."""
    return str(getattr(source, "path", None) or source.model_dump_json(exclude_defaults=True))


def read_corpus(recipe: LanguageRecipe) -> Corpus:
    """Reads all of a recipe's texts, and tokenises the first of them."""
    started = time.monotonic()
    data = recipe.data
    drawn: list[str] = []
    size = 0
    for text in sample(data.train, None):
        if size < SAMPLE_BYTES:
            drawn.append(text)
        size += len(text.encode())
    tokenizer = recipe.tokenizer.build(iter(drawn))
    tokens = sum(len(ids) for ids in tokenizer.encode_batch(drawn, bos=True, eos=True))
    read = sum(len(text.encode()) for text in drawn)
    validation = sum(len(text.encode()) for text in sample(data.validation, None))
    seconds = (time.monotonic() - started) * (size + validation) / read
    return Corpus(len(tokenizer), tokens * size / read, tokens * validation / read, seconds)


def step_seconds(
    recipe: LanguageRecipe, corpus: Corpus, device: torch.device
) -> tuple[float, float]:
    """Seconds of an optimizer step, and of an evaluation, on tokens drawn at random."""
    model = recipe.built(corpus.vocabulary).to(device)
    objective = recipe.objective.build(getattr(recipe.model, "experts", None))
    batch = _random_batch(recipe, corpus.vocabulary).to(device)
    optimizer = recipe.optimizer.build(model)
    low = torch.autocast(
        device.type, torch.bfloat16, enabled=recipe.training.precision == "bfloat16"
    )

    def learn() -> None:
        with low:
            losses = objective(model, batch)
        total = sum(term.total * term.weight / term.count for term in losses.terms.values())
        total.backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def score() -> None:
        with torch.no_grad():
            mean_losses(model, objective, [batch])

    model.train()
    step = _timed(learn, device) * recipe.training.accumulate / joined().count
    model.eval()
    return step, _timed(score, device) * corpus.validation / batch.target_tokens


def _timed(work: Callable[[], None], device: torch.device) -> float:
    """Seconds that something takes: the median of as many times as fit into a second or so."""
    times: list[float] = []
    while len(times) < WARM + FEWEST or sum(times) < TIMING:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[WARM:])


def _random_batch(recipe: LanguageRecipe, vocabulary: int) -> LanguageBatch:
    rows, length = recipe.batching.rows, recipe.batching.length
    drawn = torch.randint(4, vocabulary, (rows, length + 1), generator=torch.Generator())
    valid = torch.ones(rows, length, dtype=torch.bool)
    return LanguageBatch(drawn[:, :-1], drawn[:, 1:], valid, torch.zeros_like(drawn[:, 1:]))

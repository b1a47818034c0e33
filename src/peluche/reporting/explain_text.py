"""Following a text through a language model or an encoder, position by position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from peluche.errors import CheckpointError
from peluche.generation.search import never_said
from peluche.metrics import perplexity
from peluche.metrics.perplexity import BitsPerByte
from peluche.models.encoder import Encoder
from peluche.nn.trace import tracing
from peluche.reporting import model_insides as insides
from peluche.reporting.explanation import Candidate
from peluche.reporting.model_insides import TextModel
from peluche.reporting.text_explanation import LensLayer, Prediction, TextExplanation
from peluche.reporting.text_reading import View, read_text, reader_of, shown
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler
from peluche.tasks.modes import evaluating
from peluche.tasks.perplexity import TextLikelihood
from peluche.text.tokenizer import Tokenizer

T = TypeVar("T")

# Places in layers at which the lens is held, so that a page stays small, and to save time.
MOST_GUESSES = 5000
# Padded tokens of a batch in which tokens are hidden in turn.
BATCH_TOKENS = 4096
LENS_CANDIDATES = 3


@torch.inference_mode()
def explain_text(
    task: Completer | Filler | Embedder, text: str, view: View = View()
) -> TextExplanation:
    """Read a text and record what the model makes of it at every token.

    Nothing is put before the text of a language model, not even [BOS], as `peluche perplexity`
    does it. A text that is longer than `view.tokens`, or than the model can read, is cut there.

    Raises:
        CheckpointError: the model computes what is not a number.
        ConfigError: there are no such layers or heads; or the model cannot be looked into.
        DataError: the text is empty.
    """
    model, tokenizer = reader_of(task), task.tokenizer
    tokens, left_out, size = read_text(task, text, min(view.tokens, model.longest or view.tokens))
    ids = [token.id for token in tokens]
    says = not isinstance(model, Encoder) or (model.masked is not None and tokenizer.mask_id >= 0)
    shape = insides.shape(model)
    layers, heads = shown(view, shape.layers, shape.heads, len(ids), isinstance(model, Encoder))
    with evaluating(model):
        with tracing(insides.kept(layers)) as trace:
            model.hidden(torch.tensor([ids], device=next(model.parameters()).device))
        states = insides.states(model, trace)
        if not bool(states[shape.layers].isfinite().all()):
            raise CheckpointError(
                "what leaves the last layer is not a number: the model's weights are damaged",
                remedy="copy the model again, or give other weights of the run",
            )
        lens: tuple[LensLayer, ...] = ()
        predictions: tuple[Prediction | None, ...] = ()
        if says:
            actual = _actual(model, tokenizer, ids)
            lens = _lens(model, states, actual, view.layers)
            rows = (
                _hidden_in_turn(model, tokenizer, ids)
                if isinstance(model, Encoder)
                else insides.read_out(model, states[shape.layers]).float()
            )
            predictions = _predictions(tokenizer, rows, actual, view.candidates)
    wanted = range(shape.layers) if view.layers is None else layers
    return TextExplanation(
        model=shape,
        text=text[:size],
        tokens=tokens,
        left_out=left_out,
        ahead=0 if isinstance(model, Encoder) else 1,
        predictions=predictions,
        score=_score(predictions, len(text[:size].encode())),
        attention=insides.attention(model, trace, layers, heads) if shape.heads else (),
        lens=lens,
        routing=tuple(one for one in insides.routing(model, trace) if one.layer in wanted),
        carried=tuple(one for one in insides.memory(model, trace) if one.layer in wanted),
        names={
            str(number): tokenizer.readable(number)
            for number in sorted({int(n) for layer in lens for n in layer.best.flat})
            if number < len(tokenizer)
        },
    )


def _actual(model: TextModel, tokenizer: Tokenizer, ids: Sequence[int]) -> list[int | None]:
    """What each prediction is compared with."""
    if not isinstance(model, Encoder):
        return [*ids[1:], None]
    no_text = tokenizer.special_ids | {tokenizer.mask_id}
    return [None if number in no_text else number for number in ids]


def _lens(
    model: TextModel,
    states: dict[int, Tensor],
    actual: Sequence[int | None],
    wanted: Sequence[int] | None,
) -> tuple[LensLayer, ...]:
    known = list(states)
    if wanted is None:
        count = max(2, MOST_GUESSES // len(actual))
        wanted = [known[place] for place in insides.evenly(min(count, len(known)), len(known))]
    found = []
    for layer, state in states.items():
        if layer not in (*wanted, known[-1]):
            continue
        logits = insides.read_out(model, state).float()
        total = logits.logsumexp(-1, keepdim=True)
        best = logits.topk(min(LENS_CANDIDATES, logits.shape[-1]))
        numbers = torch.tensor([number or 0 for number in actual], device=logits.device)
        there = logits.gather(1, numbers[:, None])
        rank = ((logits > there).sum(1) + 1).tolist()
        probability = (there - total)[:, 0].exp().tolist()
        found.append(
            LensLayer(
                layer=layer,
                best=best.indices.cpu().numpy(),
                probabilities=(best.values - total).exp().cpu().numpy(),
                actual=_known(probability, actual),
                rank=_known(rank, actual),
            )
        )
    return tuple(found)


def _known(values: Sequence[T], actual: Sequence[int | None]) -> tuple[T | None, ...]:
    """Only where it is known what stands there."""
    pairs = zip(values, actual, strict=True)
    return tuple(None if number is None else value for value, number in pairs)


def _hidden_in_turn(
    model: Encoder, tokenizer: Tokenizer, ids: Sequence[int]
) -> list[Tensor | None]:
    """For each token of the text, logits of what stands there, from the text with it hidden."""
    device = next(model.parameters()).device
    no_text = tokenizer.special_ids - {tokenizer.mask_id}
    places = [place for place, number in enumerate(ids) if number not in no_text]
    found: list[Tensor | None] = [None] * len(ids)
    for some in torch.tensor(places).split(max(1, BATCH_TOKENS // len(ids))):
        rows = torch.tensor(ids, device=device).repeat(len(some), 1)
        each = torch.arange(len(some))
        rows[each, some] = tokenizer.mask_id
        for place, said in zip(some.tolist(), model.hidden(rows)[each, some], strict=True):
            found[place] = model.logits(said).float()
    return found


def _predictions(
    tokenizer: Tokenizer,
    logits: Iterable[Tensor | None],
    actual: Sequence[int | None],
    count: int,
) -> tuple[Prediction | None, ...]:
    never = [*never_said(tokenizer.special).tolist()]
    never += [tokenizer.mask_id] * (tokenizer.mask_id >= 0)
    found: list[Prediction | None] = []
    for row, number in zip(logits, actual, strict=True):
        if row is None:
            found.append(None)
            continue
        log = row.log_softmax(-1).cpu()

        def candidate(token: int, log: Tensor = log) -> Candidate:
            name = tokenizer.readable(token) if token < len(tokenizer) else f"<{token}>"
            return Candidate(name, token, float(log[token].exp()))

        sayable = log.index_fill(0, torch.tensor(never, dtype=torch.long), -math.inf)
        best = sayable.topk(min(count, len(log) - len(never))).indices.tolist()
        found.append(
            Prediction(
                candidates=tuple(candidate(token) for token in best),
                actual=None if number is None else candidate(number),
                rank=None if number is None else int((log > log[number]).sum()) + 1,
                surprisal=None if number is None else -float(log[number]),
            )
        )
    return tuple(found)


def _score(predictions: Sequence[Prediction | None], size: int) -> TextLikelihood | None:
    """Of a text of so many bytes."""
    nll = [one.surprisal for one in predictions if one is not None and one.surprisal is not None]
    if not nll:
        return None
    total, count = math.fsum(nll), len(nll)
    return TextLikelihood(
        total / count, count, perplexity(total, count), BitsPerByte.of(total, size)
    )

"""Following one sentence through a model: everything it computes, as one record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peluche.errors import ConfigError
from peluche.generation.config import DecodingConfig
from peluche.hub.run import RunDirectory
from peluche.models.encoder_decoder import EncoderDecoder
from peluche.models.recurrent_seq2seq import RecurrentSeq2seq
from peluche.models.translation import TranslationModel
from peluche.nn.blocks import Block
from peluche.nn.rotary import Rotary
from peluche.nn.trace import Trace, tracing
from peluche.reporting.explain_recurrent import RecurrentExplanation, explain_recurrent
from peluche.reporting.explain_text import explain_text
from peluche.reporting.explain_words import explain_words
from peluche.reporting.explanation import Explanation, Head, Layer, Matrix, Shape, Stack, Token
from peluche.reporting.following import (
    Followed,
    as_matrix,
    decoding_steps,
    follow_search,
    follow_spans,
)
from peluche.reporting.page import AnyExplanation, write_page
from peluche.reporting.text_reading import View
from peluche.reporting.words import align, beginning
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler
from peluche.tasks.fill_spans import SpanFiller
from peluche.tasks.translate import Translator
from peluche.tasks.word_vectors import WordVectors
from peluche.text.tokenizer import Tokenizer

PAGE = "explain.html"
SPAN_BEAMS = 5  # as `peluche fill` has


def explain_task(task: Any, text: str, view: View = View()) -> AnyExplanation:
    """Follow a text through whatever does a task, as `peluche.load` gives it.

    Raises:
        ConfigError: there is no explanation of such a task, or not of these layers and heads.
        DataError: the text is empty, or too long where it is not cut.
    """
    if isinstance(task, Translator):
        return explain(
            task.model,
            task.tokenizer,
            text,
            decoding=task.decoding,
            candidates=view.candidates,
        )
    if isinstance(task, SpanFiller):
        followed = follow_spans(task, text, view.beams or SPAN_BEAMS)
        assert isinstance(task.model, EncoderDecoder), "the only family that learns so"
        found = explain_followed(task.model, task.tokenizer, followed, view.candidates)
        return replace(found, result="answer")
    if isinstance(task, WordVectors):
        return explain_words(task, text, candidates=view.candidates)
    if isinstance(task, (Completer, Filler, Embedder)):
        return explain_text(task, text, view)
    raise ConfigError(
        f"there is no page of a {type(task).__name__}; translators, summarisers, fillers of spans, "
        "word vectors, language models and encoders can be explained",
        remedy="use its own verb, which says how sure it is with --json",
    )


def explain(
    model: TranslationModel,
    tokenizer: Tokenizer,
    sentence: str,
    *,
    decoding: DecodingConfig = DecodingConfig(),
    candidates: int = 8,
) -> Explanation | RecurrentExplanation:
    """Translate a sentence by beam search and record every step of the way.

    Args:
        decoding: settings of the beam search; one beam is greedy search.
        candidates: how many of the most probable next tokens to keep at each step.

    Raises:
        DataError: if the sentence is empty or has more than `MAX_TOKENS` tokens.
    """
    parts = tokenizer, sentence, decoding, candidates
    if isinstance(model, RecurrentSeq2seq):
        return explain_recurrent(model, *parts)
    assert isinstance(model, EncoderDecoder), "there is an explanation for each family"
    model.eval()
    with torch.inference_mode():
        followed = follow_search(model, tokenizer, sentence, decoding)
    return explain_followed(model, tokenizer, followed, candidates)


def explain_followed(
    model: EncoderDecoder, tokenizer: Tokenizer, followed: Followed, candidates: int
) -> Explanation:
    """What a Transformer computed on the way that its search took.

    The decoder's insides come from one pass over the finished target: since no position looks
    ahead, row `n` holds what the model computed when it chose token `n + 1`.
    """
    model.eval()
    device = model.head.weight.device
    source, target, ids = followed.source, followed.target, followed.ids
    with torch.inference_mode():
        source_ids = torch.tensor([[token.id for token in source.tokens]], device=device)
        with tracing() as trace:
            memory = model.encode(source_ids, torch.ones_like(source_ids, dtype=torch.bool))
            read = torch.tensor([[tokenizer.bos_id, *ids[:-1]]], device=device)
            hidden = model.hidden(read, condition=memory)
            log_probabilities = model.logits(hidden)[0].float().cpu().log_softmax(-1)
    decoder = _stack(trace, "decoder", model, (beginning(tokenizer), *target.tokens[:-1]))
    steps = decoding_steps(tokenizer, log_probabilities, ids, candidates)
    return Explanation(
        model=_shape(model),
        source=source,
        target=target,
        encoder=_stack(trace, "encoder", model, source.tokens),
        decoder=decoder,
        steps=steps,
        beam=followed.beam(steps),
        alignment=tuple(
            align(
                np.mean([head.weights for head in layer.cross_attention or ()], axis=0),
                source.tokens,
                target.tokens,
                len(source.words),
                len(target.words),
            )
            for layer in decoder.layers
        ),
    )


def explain_run(run: RunDirectory, translator: Translator, sentence: str) -> Path:
    """Explain a sentence on a page among the run's reports; returns the page.

    Raises:
        DataError: if the sentence is empty or has more than `MAX_TOKENS` tokens.
    """
    path = run.report_path / PAGE
    explanation = explain(
        translator.model, translator.tokenizer, sentence, decoding=translator.decoding
    )
    write_page(explanation, path)
    return path


def _stack(trace: Trace, name: str, model: EncoderDecoder, tokens: tuple[Token, ...]) -> Stack:
    stack = model.encoder if name == "encoder" else model.decoder
    first = stack.blocks[0]
    assert isinstance(first, Block)
    turn, width = first.self_attention.head_positions, first.self_attention.head_width
    places = torch.arange(len(tokens))
    return Stack(
        tokens=tokens,
        embedding_scale=float(stack.scale),
        embedding=as_matrix(trace[f"{name}.embedding"][0]),
        positions=as_matrix(trace[f"{name}.positions"]) if f"{name}.positions" in trace else None,
        turns=as_matrix(turn.angles(places, width).cos()) if isinstance(turn, Rotary) else None,
        input=as_matrix(trace[f"{name}.input"][0]),
        layers=tuple(_layer(trace, f"{name}.{number}") for number in range(len(stack.blocks))),
        output=as_matrix(trace[f"{name}.output"][0]),
    )


def _layer(trace: Trace, name: str) -> Layer:
    cross = f"{name}.cross_attention"
    return Layer(
        self_attention=_heads(trace, f"{name}.self_attention"),
        cross_attention=_heads(trace, cross) if f"{cross}.query" in trace else None,
        output=as_matrix(trace[f"{name}.output"][0]),
    )


def _heads(trace: Trace, name: str) -> tuple[Head, ...]:
    def of(part: str, head: int) -> Matrix:
        tensor = trace[f"{name}.{part}"][0]
        # Grouped-query attention: consecutive heads share a key and a value.
        return as_matrix(tensor[head * len(tensor) // heads])

    heads = len(trace[f"{name}.query"][0])
    return tuple(
        Head(
            query=of("query", head),
            key=of("key", head),
            value=of("value", head),
            products=of("products", head),
            scores=of("scores", head),
            bias=of("bias", head) if f"{name}.bias" in trace else None,
            weights=of("weights", head),
            mixed=of("mixed", head),
        )
        for head in range(heads)
    )


def _shape(model: EncoderDecoder) -> Shape:
    config = model.config
    return Shape(
        kind=config.kind,
        layers=config.layers,
        decoder_layers=config.decoder_layers or config.layers,
        d_model=config.d_model,
        heads=config.heads,
        head_width=config.d_model // config.heads,
        d_ff=config.d_ff,
        vocabulary=model.vocabulary,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        positions=config.positions,
        norm_placement=config.norm_placement,
        activation=config.activation,
    )

"""From a run directory to something that does its task, one function per task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from peluche.config import Config
from peluche.data.answering import AnsweringConfig
from peluche.data.batching import BatchingConfig
from peluche.data.masking import MaskingConfig
from peluche.data.packing import PackingConfig
from peluche.data.span_corruption import SpanCorruptionConfig
from peluche.generation.config import DecodingConfig
from peluche.hub.pretrained import ModelSource
from peluche.hub.run import RunDirectory
from peluche.inference.decoding import fastest_decoder
from peluche.inference.packed_encoder import PackedEncoder, packs
from peluche.models.answerer import AnswererConfig
from peluche.models.classifier import ClassifierConfig
from peluche.models.dependency_parser import DependencyParserConfig
from peluche.models.encoder import EncoderConfig
from peluche.models.language_model import LanguageModel
from peluche.models.language_registry import LanguageModelConfig
from peluche.models.multi_token import AHEAD
from peluche.models.pretrained_encoder import HEADS, PretrainedEncoder, PretrainedEncoderConfig
from peluche.models.registry import parse_model
from peluche.models.span_parser import SpanParserConfig
from peluche.models.tagger import TaggerConfig
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.models.translation import TranslationModel
from peluche.models.word_vectors import WordVectorsConfig
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.classify import TextClassifier
from peluche.tasks.coding import load_coding
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder, EmbeddingConfig
from peluche.tasks.fill import Filler
from peluche.tasks.fill_spans import SpanFiller
from peluche.tasks.parse import ConstituencyAnnotator, DependencyAnnotator
from peluche.tasks.sentences import SentenceTask
from peluche.tasks.summarise import Summariser
from peluche.tasks.tag import SentenceTagger
from peluche.tasks.translate import Translator
from peluche.tasks.weights import embedding_rows, filled, model_config, model_values
from peluche.tasks.word_vectors import WordVectors
from peluche.text.labels import Labels
from peluche.text.tokenizer import Tokenizer
from peluche.text.vocabulary import Vocabulary

Options = Mapping[str, Any]
HEAD, EMBEDDING = "head.weight", "encoder.embedding.weight"


def restore_translator(run: ModelSource, weights: str, options: Options) -> Translator:
    """See `peluche.tasks.load.load_task`, here and for all others."""
    return _sequence_task(run, weights, options, Translator)


def restore_summariser(run: ModelSource, weights: str, options: Options) -> Summariser:
    return _sequence_task(run, weights, options, Summariser)


Q = TypeVar("Q", bound=Translator)


def _sequence_task(run: ModelSource, weights: str, options: Options, task: type[Q]) -> Q:
    tokenizer = run.tokenizer()
    settings = {**(run.config.get("decoding") or {}), **options}
    model = restore_model(run, tokenizer, weights)
    config = DecodingConfig.parse(settings, where="the decoding options")
    return task(model, tokenizer, config, fastest_decoder(model, tokenizer.special))


def restore_model(
    run: ModelSource, tokenizer: Tokenizer, weights: str = "model"
) -> TranslationModel:
    """The translation model of a run with the weights of that name, ready to decode.

    Raises:
        CheckpointError: if config and weights are absent, damaged, or do not belong together.
    """
    config = parse_model(model_values(run), where=str(run.path / "config.yaml"))
    state = run.load_weights(weights)
    return filled(
        lambda: config.build(embedding_rows(run, state[HEAD], tokenizer)), run, weights, state
    )


def restore_classifier(run: ModelSource, weights: str, options: Options) -> TextClassifier:
    tokenizer, labels = run.tokenizer(), Labels.load(run.part("labels.json"))
    config = model_config(run, ClassifierConfig)
    model = filled(lambda: config.build(len(tokenizer), len(labels)), run, weights)
    settings: dict[str, Any] = {
        "pairs": run.config["data"]["train"].get("second") is not None,
        "scales": _scales(run, model.part_count),
        "max_length": _longest(run, 512),
        **options,
    }
    return TextClassifier(model, tokenizer, labels, **settings)


def restore_answerer(run: ModelSource, weights: str, options: Options) -> QuestionAnswerer:
    tokenizer, config = run.tokenizer(), model_config(run, AnswererConfig)
    model = filled(lambda: config.build(len(tokenizer)), run, weights)
    answering = _section(run, "answering", AnsweringConfig)
    settings = {"max_length": _longest(run, 384), **options}
    return QuestionAnswerer(model, tokenizer, answering, **settings)


def _scales(run: ModelSource, parts: int) -> list[float]:
    if not run.has("calibration.json"):
        return []
    values = json.loads(run.part("calibration.json").read_text(encoding="utf-8"))
    # Runs of before have one temperature for all parts.
    return values.get("scales") or [1 / values["temperature"]] * parts


def restore_vectors(run: ModelSource, weights: str, options: Options) -> WordVectors:
    vocabulary = Vocabulary.load(run.part("vocabulary.json"))
    model = filled(
        lambda: model_config(run, WordVectorsConfig).build(len(vocabulary)), run, weights
    )
    return WordVectors(vocabulary, model.vectors(), model)


def restore_completer(run: ModelSource, weights: str, options: Options) -> Completer:
    tokenizer = run.tokenizer()
    config = model_config(run, LanguageModelConfig)
    state = run.load_weights(weights)
    # Heads that look further ahead are for training alone.
    for name in [name for name in state if name.startswith(AHEAD)]:
        del state[name]
    model = filled(
        lambda: config.build(embedding_rows(run, state[HEAD], tokenizer)), run, weights, state
    )
    packing = _section(run, "batching", PackingConfig)
    context = context_of(run, model)
    return Completer(model, tokenizer, packing, context=context, chat=run.chat(), **options)


def context_of(run: ModelSource, model: LanguageModel) -> int | None:
    """The most tokens of a text that a model was made for; None for any number.

    Files of others say it; of our own runs it is known where positions are learnt.
    """
    if isinstance(run, RunDirectory):
        return model.longest
    found: int | None = getattr(model.config, "max_length", None)
    return found


def restore_filler(run: ModelSource, weights: str, options: Options) -> Filler:
    tokenizer = run.tokenizer()
    model = filled(lambda: model_config(run, EncoderConfig).build(len(tokenizer)), run, weights)
    packing = _section(run, "batching", PackingConfig)
    masking = _section(run, "masking", MaskingConfig)
    return Filler(model, tokenizer, packing, masking, **options)


def restore_span_filler(run: ModelSource, weights: str, options: Options) -> SpanFiller:
    tokenizer = run.tokenizer()
    model = restore_model(run, tokenizer, weights)
    packing = _section(run, "batching", PackingConfig)
    corruption = _section(run, "corruption", SpanCorruptionConfig)
    return SpanFiller(model, tokenizer, packing, corruption, **options)


def restore_embedder(run: ModelSource, weights: str, options: Options) -> Embedder:
    tokenizer, values, state = run.tokenizer(), model_values(run), run.load_weights(weights)
    settings = {**(run.config.get("embedding") or {}), **options}
    if values.get("kind") == "encoder":
        # Another library's: the encoder, and settings of what is done with its vectors.
        rows = embedding_rows(run, state[EMBEDDING], tokenizer)
        encoder = {"kind": "pretrained", "model": str(run.path), "architecture": values}
        values = {"encoder": {**encoder, "vocabulary": rows}}
        state = {
            f"encoder.model.{name}": tensor
            for name, tensor in state.items()
            if not name.startswith(HEADS)
        }
    chosen = {key: settings.pop(key) for key in ("pooling", "normalize") if key in settings}
    config = TextEmbedderConfig.parse({**values, **chosen}, where=str(run.path))
    found = EmbeddingConfig.parse(settings, where=str(run.path))
    limits = [found.max_length, _longest(run, found.max_length)]
    if isinstance(config.encoder, PretrainedEncoderConfig) and config.encoder.longest is not None:
        limits.append(config.encoder.longest)
    found = found.model_copy(update={"max_length": min(limits)})
    model = filled(lambda: config.build(len(tokenizer)), run, weights, state)
    reads = model.encoder.model if isinstance(model.encoder, PretrainedEncoder) else None
    packed = PackedEncoder(reads) if reads is not None and packs(reads) else None
    return Embedder(model, tokenizer, found, packed)


def restore_tagger(run: ModelSource, weights: str, options: Options) -> SentenceTagger:
    return _sentence_task(run, weights, options, TaggerConfig, SentenceTagger)


def restore_dependencies(run: ModelSource, weights: str, options: Options) -> DependencyAnnotator:
    return _sentence_task(run, weights, options, DependencyParserConfig, DependencyAnnotator)


def restore_constituents(run: ModelSource, weights: str, options: Options) -> ConstituencyAnnotator:
    return _sentence_task(run, weights, options, SpanParserConfig, ConstituencyAnnotator)


S = TypeVar("S", bound=SentenceTask[Any, Any])


def _sentence_task(
    run: ModelSource, weights: str, options: Options, config: Any, task: Callable[..., S]
) -> S:
    coding = load_coding(run)
    model = filled(lambda: model_config(run, config).build(coding), run, weights)
    return task(model, coding, **options)


def _longest(run: ModelSource, usual: int) -> int:
    """The most tokens of a text in the run's batches; `usual` where it says nothing of them."""
    if not run.config.get("batching"):
        return usual
    return _section(run, "batching", BatchingConfig).longest


C = TypeVar("C", bound=Config)


def _section(run: ModelSource, key: str, kind: type[C]) -> C:
    """What a run's config says of something; the usual where it says nothing."""
    return kind.parse(run.config.get(key) or {}, where=str(run.path))

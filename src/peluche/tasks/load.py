"""From the name of a model to something that does its task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from peluche.config import parse_as
from peluche.data.annotation import Coding
from peluche.errors import CheckpointError, ConfigError
from peluche.generation.config import DecodingConfig
from peluche.hub.resolve import resolve
from peluche.hub.run import RunDirectory
from peluche.inference.decoding import fastest_decoder
from peluche.models.classifier import ClassifierConfig
from peluche.models.dependency_parser import DependencyParserConfig
from peluche.models.registry import parse_model
from peluche.models.span_parser import SpanParserConfig
from peluche.models.tagger import TaggerConfig
from peluche.models.translation import TranslationModel
from peluche.models.word_vectors import WordVectorsConfig
from peluche.tasks.classify import TextClassifier
from peluche.tasks.evaluation import Evaluable, EvaluationSettings
from peluche.tasks.parse import ConstituencyAnnotator, DependencyAnnotator
from peluche.tasks.sentences import SentenceTask
from peluche.tasks.tag import SentenceTagger
from peluche.tasks.translate import Translator
from peluche.tasks.word_vectors import WordVectors
from peluche.text.labels import Labels
from peluche.text.lexicon import Lexicon
from peluche.text.vocabulary import Vocabulary

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")
Task = Translator | TextClassifier | SentenceTask[Any, Any] | WordVectors


def load_task(model: str | Path, *, weights: str = "model", **options: Any) -> Any:
    """Open a trained model and make ready what it does: a `Translator`, a `TextClassifier`, ...

    Args:
        model: whatever `peluche.hub.resolve` takes, e.g. a run directory.
        weights: which of the run's weights: model, best, averaged, ...
        options: settings of the task in place of those of the run, e.g. `beams=1`.

    Raises:
        CheckpointError: if there is no such model, or it is damaged.
        ConfigError: for settings that are not known or do not go together.
    """
    return _loaded(resolve(model), weights, options)


def load_translator(model: str | Path, *, weights: str = "model", **decoding: Any) -> Translator:
    """`load_task` for a model that translates.

    Raises:
        ConfigError: it does something else.
    """
    return _load_as(Translator, "translate", model, weights, decoding)


def load_classifier(model: str | Path, *, weights: str = "model", **options: Any) -> TextClassifier:
    """`load_task` for a model that classifies.

    Raises:
        ConfigError: it does something else.
    """
    return _load_as(TextClassifier, "classify", model, weights, options)


def load_tagger(model: str | Path, *, weights: str = "model", **options: Any) -> SentenceTagger:
    """`load_task` for a model that tags.

    Raises:
        ConfigError: it does something else.
    """
    return _load_as(SentenceTagger, "tag", model, weights, options)


def load_parser(
    model: str | Path, *, weights: str = "model", **options: Any
) -> SentenceTask[Any, Any]:
    """`load_task` for a model that parses, into whichever kind of tree.

    Raises:
        ConfigError: it does something else.
    """
    return _load_as(SentenceTask, "parse", model, weights, options)


def load_vectors(model: str | Path, *, weights: str = "model") -> WordVectors:
    """`load_task` for word vectors; takes a file in word2vec's text or binary format, too.

    Raises:
        ConfigError: the model does something else.
        DataError: the file is damaged.
    """
    if Path(model).is_file():
        return WordVectors.from_file(Path(model))
    return _load_as(WordVectors, "similar", model, weights, {})


def _load_as(
    kind: type[T],
    verb: str,
    model: str | Path,
    weights: str,
    options: Mapping[str, Any],
) -> T:
    run = resolve(model)
    found = task_of(run)
    if VERBS[found] != verb:
        raise ConfigError(
            f"this model is made for {found}, it does not {verb}",
            where=run.path,
            remedy=f"use: peluche {VERBS[found]} {run.path}",
        )
    loaded = _loaded(run, weights, options)
    assert isinstance(loaded, kind)
    return loaded


def _loaded(run: RunDirectory, weights: str, options: Mapping[str, Any]) -> Task:
    task = LOADERS[task_of(run)](run, weights, options)
    if isinstance(task, Evaluable):
        task.settings = EvaluationSettings.of(run.config)
    return task


VERBS = {
    "translation": "translate",
    "classification": "classify",
    "tagging": "tag",
    "dependency_parsing": "parse",
    "constituency_parsing": "parse",
    "word_vectors": "similar",
}


def task_of(run: RunDirectory) -> str:
    """What a run's model was trained for.

    Raises:
        CheckpointError: nothing that this peluche knows.
    """
    task = str(run.config.get("task", "translation"))
    if task not in LOADERS:
        raise CheckpointError(
            f"this run's task is '{task}', which this peluche does not know",
            where=run.path / "config.yaml",
            remedy="use the peluche that made the run",
        )
    return task


def _translator(run: RunDirectory, weights: str, options: Mapping[str, Any]) -> Translator:
    tokenizer = run.tokenizer()
    settings = {**(run.config.get("decoding") or {}), **options}
    loaded = load_model(run, len(tokenizer), weights)
    return Translator(
        loaded,
        tokenizer,
        DecodingConfig.parse(settings, where="the decoding options"),
        fastest_decoder(loaded),
    )


def _classifier(run: RunDirectory, weights: str, options: Mapping[str, Any]) -> TextClassifier:
    tokenizer, labels = run.tokenizer(), Labels.load(run.part("labels.json"))
    config = parse_as(ClassifierConfig, _model_values(run), where=str(run.path / "config.yaml"))
    model = _filled(config.build(len(tokenizer), len(labels)), run, weights)
    batching = run.config.get("batching") or {}
    settings: dict[str, Any] = {
        "pairs": run.config["data"]["train"].get("second") is not None,
        "temperature": _temperature(run),
        "max_length": min(batching.get("max_length", 512), batching.get("tokens", 512)),
        **options,
    }
    return TextClassifier(model, tokenizer, labels, **settings)


def _word_vectors(run: RunDirectory, weights: str, options: Mapping[str, Any]) -> WordVectors:
    vocabulary = Vocabulary.load(run.part("vocabulary.json"))
    config = parse_as(WordVectorsConfig, _model_values(run), where=str(run.path / "config.yaml"))
    model = _filled(config.build(len(vocabulary)), run, weights)
    return WordVectors(vocabulary, model.vectors(), model)


CODING = ("tags", "relations", "constituents")


def save_coding(run: RunDirectory, coding: Coding) -> None:
    """Keep the words and labels that a tagger or parser knows in its run directory."""
    for kind in CODING:
        labels: Labels | None = getattr(coding, kind)
        if labels is not None:
            run.save_part(f"{kind}.json", labels.save)
    run.save_part("lexicon.json", coding.lexicon.save)


def load_coding(run: RunDirectory) -> Coding:
    """What `save_coding` kept.

    Raises:
        CheckpointError: something of it is missing or damaged.
    """
    labels = {
        kind: Labels.load(run.part(f"{kind}.json"))
        for kind in CODING
        if (run.path / f"{kind}.json").exists()
    }
    return Coding(Lexicon.load(run.part("lexicon.json")), **labels)


def _sentence_loader(config: Any, task: Callable[..., Task]) -> Loader:
    def load(run: RunDirectory, weights: str, options: Mapping[str, Any]) -> Task:
        coding = load_coding(run)
        where = str(run.path / "config.yaml")
        model = parse_as(config, _model_values(run), where=where).build(coding)
        return task(_filled(model, run, weights), coding, **options)

    return load


Loader = Callable[[RunDirectory, str, Mapping[str, Any]], Task]
LOADERS: dict[str, Loader] = {
    "translation": _translator,
    "classification": _classifier,
    "tagging": _sentence_loader(TaggerConfig, SentenceTagger),
    "dependency_parsing": _sentence_loader(DependencyParserConfig, DependencyAnnotator),
    "constituency_parsing": _sentence_loader(SpanParserConfig, ConstituencyAnnotator),
    "word_vectors": _word_vectors,
}


def load_model(run: RunDirectory, vocabulary: int, weights: str = "model") -> TranslationModel:
    """The translation model of a run with the weights of that name, ready to decode.

    Raises:
        CheckpointError: if config and weights are absent, damaged, or do not belong together.
    """
    values = _model_values(run)
    config = parse_model(values, where=str(run.path / "config.yaml"))
    return _filled(config.build(vocabulary), run, weights)


def _model_values(run: RunDirectory) -> dict[str, Any]:
    config = run.config
    if "model" not in config:
        raise CheckpointError(
            "this run's config has no 'model'",
            where=run.path / "config.yaml",
            remedy="use the folder of a run that trains a model",
        )
    values: dict[str, Any] = config["model"]
    return values


def _filled(model: M, run: RunDirectory, weights: str) -> M:
    tensors: dict[str, Tensor] = run.load_weights(weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n", 1)[-1].split())
        raise CheckpointError(
            f"the weights are not those of the model in config.yaml: {reason}",
            where=run.path / f"{weights}.safetensors",
            remedy="copy the run again from where it was trained",
        ) from None
    return model.eval()


def _temperature(run: RunDirectory) -> float:
    if not (run.path / "calibration.json").exists():
        return 1.0
    path = run.part("calibration.json")
    return float(json.loads(path.read_text(encoding="utf-8"))["temperature"])

"""From the name of a model to something that does its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.pretrained import ModelSource
from peluche.hub.resolve import open_source
from peluche.nn.machine import trim_memory
from peluche.tasks import restore
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.classify import TextClassifier
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder
from peluche.tasks.evaluation import Evaluable, EvaluationSettings
from peluche.tasks.fill import FillingTask
from peluche.tasks.sentences import SentenceTask
from peluche.tasks.summarise import Summariser
from peluche.tasks.tag import SentenceTagger
from peluche.tasks.translate import Translator
from peluche.tasks.word_vectors import WordVectors

T = TypeVar("T")
Task = (
    Translator
    | TextClassifier
    | SentenceTask[Any, Any]
    | WordVectors
    | Completer
    | FillingTask
    | Embedder
    | QuestionAnswerer
)


class Kind(NamedTuple):
    """What a task is called on the command line, and how a run is made ready for it."""

    verb: str
    restore: Callable[[ModelSource, str, Mapping[str, Any]], Task]


KINDS = {
    "translation": Kind("translate", restore.restore_translator),
    "summarisation": Kind("summarise", restore.restore_summariser),
    "classification": Kind("classify", restore.restore_classifier),
    "tagging": Kind("tag", restore.restore_tagger),
    "dependency_parsing": Kind("parse", restore.restore_dependencies),
    "constituency_parsing": Kind("parse", restore.restore_constituents),
    "word_vectors": Kind("similar", restore.restore_vectors),
    "language_modelling": Kind("complete", restore.restore_completer),
    "masked_language_modelling": Kind("fill", restore.restore_filler),
    "span_corruption": Kind("fill", restore.restore_span_filler),
    "embedding": Kind("embed", restore.restore_embedder),
    "question_answering": Kind("answer", restore.restore_answerer),
}


def load_task(model: str | Path, *, weights: str = "model", **options: Any) -> Any:
    """Open a trained model and make ready what it does: a `Translator`, a `TextClassifier`, ...

    Args:
        model: whatever `peluche.hub.resolve.open_source` takes, e.g. a run directory.
        weights: which of the run's weights: model, best, averaged, ...
        options: settings of the task in place of those of the run, e.g. `beams=1`.

    Raises:
        CheckpointError: if there is no such model, or it is damaged.
        ConfigError: for settings that are not known or do not go together.
    """
    loaded = _loaded(open_source(model), weights, options)
    trim_memory()
    return loaded


class Loader(Generic[T]):
    """`load_task` for models that do one thing.

    Args:
        verb: what that is called on the command line; several verbs may use such a model.
    """

    def __init__(self, kind: type[T], verb: str) -> None:
        self.kind, self.verb = kind, verb

    def __call__(self, model: str | Path, *, weights: str = "model", **options: Any) -> T:
        """See `load_task`.

        Raises:
            ConfigError: the model does something else.
        """
        run = open_source(model)
        found = task_of(run)
        if KINDS[found].verb != self.verb:
            wanted = [task for task, kind in KINDS.items() if kind.verb == self.verb]
            raise ConfigError(
                f"this model is made for {found}; needed is one for {' or '.join(wanted)}",
                where=run.path,
                remedy=f"give another model; or use: peluche {KINDS[found].verb} {run.path}",
            )
        loaded = _loaded(run, weights, options)
        assert isinstance(loaded, self.kind)
        # It has the weights too.
        del run
        trim_memory()
        return loaded


load_translator = Loader(Translator, "translate")
load_summariser = Loader(Summariser, "summarise")
load_classifier = Loader(TextClassifier, "classify")
load_tagger = Loader(SentenceTagger, "tag")
load_parser: Loader[SentenceTask[Any, Any]] = Loader(SentenceTask, "parse")
load_completer = Loader(Completer, "complete")
load_filler = Loader(FillingTask, "fill")  # type: ignore[type-abstract]
load_embedder = Loader(Embedder, "embed")
load_answerer = Loader(QuestionAnswerer, "answer")


def load_vectors(model: str | Path, *, weights: str = "model") -> WordVectors:
    """`load_task` for word vectors; takes a file in word2vec's text or binary format, too.

    Raises:
        ConfigError: the model does something else.
        DataError: the file is damaged.
    """
    if Path(model).is_file():
        return WordVectors.from_file(Path(model))
    return Loader(WordVectors, "similar")(model, weights=weights)


def _loaded(run: ModelSource, weights: str, options: Mapping[str, Any]) -> Task:
    task = KINDS[task_of(run)].restore(run, weights, options)
    if isinstance(task, Evaluable):
        task.settings = EvaluationSettings.of(run.config)
    return task


def task_of(run: ModelSource) -> str:
    """What a run's model was trained for.

    Raises:
        CheckpointError: nothing that this peluche knows.
    """
    task = str(run.config.get("task", "translation"))
    if task not in KINDS:
        raise CheckpointError(
            f"this run's task is '{task}', which this peluche does not know",
            where=run.path / "config.yaml",
            remedy="use the peluche that made the run",
        )
    return task

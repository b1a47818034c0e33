"""The recipe of a classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from peluche import files
from peluche.config import Config
from peluche.data.batching import BatchingConfig
from peluche.data.classification import ClassificationStream
from peluche.data.labelled import LabelledText, TextSource
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.metrics.calibration import measure_probabilities
from peluche.metrics.classification import measure_classification
from peluche.metrics.scoring import scores_of
from peluche.models.classifier import Classifier, ClassifierConfig
from peluche.objectives.base import Objective
from peluche.objectives.classification import ClassificationConfig
from peluche.recipes.base import Assembly, Say, phase
from peluche.recipes.pretrained import EncoderRecipe, own_tokenizer, start_encoder, words_of
from peluche.tasks.classify import TextClassifier, fit_scales
from peluche.tasks.evaluation import read_examples
from peluche.text.labels import Labels
from peluche.text.tokenizer import Tokenizer, TokenizerConfig
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent

LABELS, CALIBRATION = "labels.json", "calibration.json"


class TextData(Config):
    """Labelled texts; `test` is scored once, at the end."""

    train: TextSource
    validation: TextSource
    test: TextSource | None = None


class ClassificationRecipe(EncoderRecipe):
    """From labelled texts to a classifier with calibrated probabilities."""

    task: Literal["classification"] = "classification"
    data: TextData
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ClassifierConfig = ClassifierConfig()
    objective: ClassificationConfig = ClassificationConfig()
    batching: BatchingConfig = BatchingConfig()

    def measured(self) -> set[str]:
        return {"loss", "nll", "accuracy", "f1_macro"}

    def scored(self) -> set[str]:
        labels = list(_labels(read_examples(self.data.train)))
        sure = np.eye(len(labels))
        measured = measure_classification(labels, labels)
        measured += measure_probabilities(sure, range(len(labels)))
        return {one.metric.name for one in measured}

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "read the texts", say):
            train = read_examples(self.data.train, say)
            validation = read_examples(self.data.validation, say)
        with phase(run, "learn the vocabulary", say):
            texts = (text for example in train for text in example.texts)
            tokenizer = own_tokenizer(run, self.model.encoder, self.tokenizer, texts)
            if not (run.path / LABELS).exists():
                run.save_part(LABELS, _labels(train).save)
            labels = Labels.load(run.part(LABELS))
        torch.manual_seed(self.training.seed)
        model = self.model.build(len(tokenizer), len(labels))
        start_encoder(run, model.encoder, self.model.encoder, words_of(tokenizer), say)
        begins = model.encoder.begins
        stream = ClassificationStream(
            lambda: train, tokenizer, labels, self.batching, self.training.seed, say, begins=begins
        )
        with phase(run, "encode the texts", say):
            stream.warm()
            model.count(stream.once())
        model = model.to(device)
        objective = self.objective.build()
        evaluator = ClassificationEvaluator(
            model,
            objective,
            ClassificationStream(
                lambda: validation, tokenizer, labels, self.batching, begins=begins
            ),
            validation,
            self.classifier(model, tokenizer, labels),
        )
        facts = {"vocabulary": len(tokenizer), "labels": len(labels)}
        return Assembly(model, objective, stream, evaluator, facts)

    def classifier(self, model: Classifier, tokenizer: Tokenizer, labels: Labels) -> TextClassifier:
        """The task that a model of this recipe does."""
        source = self.data.train
        return TextClassifier(
            model,
            tokenizer,
            labels,
            pairs=getattr(source, "second", None) is not None,
            max_length=self.batching.longest,
        )

    def finish(self, run: RunDirectory, parts: Assembly) -> None:
        """Calibrate on the validation set: part by part if another set is scored in the end."""
        evaluator = parts.evaluator
        assert isinstance(evaluator, ClassificationEvaluator)
        apart = self.data.test is not None
        scales = {"scales": fit_scales(evaluator.parts(), evaluator.numbers, apart=apart)}
        text = json.dumps(scales) + "\n"
        run.save_part(CALIBRATION, lambda path: files.write_text(path, text))
        run.log({"event": "calibration", **scales})


class ClassificationEvaluator:
    """Loss, accuracy and macro F1 on the validation set."""

    def __init__(
        self,
        model: Classifier,
        objective: Objective,
        stream: ClassificationStream,
        texts: Sequence[LabelledText],
        classifier: TextClassifier,
    ) -> None:
        self.model, self.objective, self.classifier = model, objective, classifier
        self.batches = list(stream.once())
        self.texts = texts
        labels = classifier.labels
        self.numbers = [labels.number(example.label, example.where) for example in texts]

    def parts(self) -> torch.Tensor:
        """(parts, texts, labels): scores by each of the model's parts."""
        seconds = [example.second or "" for example in self.texts]
        return self.classifier.parts(
            [example.text for example in self.texts], seconds if self.classifier.pairs else None
        )

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.model, self.objective, self.batches)
        names = list(self.classifier.labels)
        said = [names[number] for number in self.parts().sum(0).argmax(-1).tolist()]
        gold = [example.label for example in self.texts]
        for item in scores_of(measure_classification(said, gold, names), bootstrap=0):
            if item.metric in ("accuracy", "f1_macro"):
                metrics[item.metric] = item.score
        return EvaluateEvent(step, metrics, ())


def _labels(train: Sequence[LabelledText]) -> Labels:
    labels = Labels.of(example.label for example in train)
    if len(labels) == 1:
        raise DataError(
            f"all texts have the label '{labels[0]}'",
            where=f"the training texts, from {train[0].where} on",
            remedy="give texts of two labels or more; check which column the label is in",
        )
    return labels

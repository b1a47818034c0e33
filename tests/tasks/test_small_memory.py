"""Memory that runs out outside training: batches are cut, and what comes out stays the same."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from peluche.data.packing import LanguageBatch
from peluche.data.texts import PlainText
from peluche.errors import ResourceError
from peluche.memory import InPieces
from peluche.models.answerer import AnswererConfig
from peluche.models.classifier import ClassifierConfig
from peluche.models.decoder import DecoderConfig
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.objectives.causal import CausalConfig, CausalObjective
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.classify import TextClassifier
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler
from peluche.tasks.perplexity import window_likelihood
from peluche.tasks.translate import Translator
from peluche.text.labels import Labels
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.evaluators import mean_losses

WORDS = [
    "a",
    "cute",
    "teddy",
    "bear",
    "is",
    "reading",
    "the",
    "books",
    "that",
    "it",
    "likes",
    ",",
    "and",
    "so",
    "are",
    "we",
]
TEXTS = [" ".join(WORDS[start : start + 2 + start % 7]) for start in range(14)]
TEXT = " ".join(TEXTS)
TOKENIZER = TokenizerConfig(kind="word", vocab_size=60, special=("[MASK]",)).build(TEXTS)
SIZES = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24, "dropout": 0.0}
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
]
any_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@contextlib.contextmanager
def crowded(model, most, error, dimension=0):
    """No more than so many rows, or tokens of a row, fit into memory; yields what was tried."""
    tried = []

    def refuse(module, inputs):
        tried.append(inputs[0].shape[dimension])
        if tried[-1] > most:
            raise error

    hooks = [
        module.register_forward_pre_hook(refuse)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        yield tried
    finally:
        for hook in hooks:
            hook.remove()


def random(config, *sizes):
    torch.manual_seed(0)
    model = config.build(len(TOKENIZER), *sizes).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def embedding():
    task = Embedder(random(TextEmbedderConfig()), TOKENIZER)
    return task, lambda: task.embed(TEXTS).numpy()


def classification():
    labels = Labels(["bad", "good"])
    task = TextClassifier(random(ClassifierConfig(), 2), TOKENIZER, labels)
    return task, lambda: task.parts(TEXTS).numpy()


def answering():
    task = QuestionAnswerer(random(AnswererConfig()), TOKENIZER)
    contexts = [f"{text} {TEXTS[0]}" for text in TEXTS]
    return task, lambda: np.array([one[1:] for one in task.answer(TEXTS, contexts)])


def completion():
    task = Completer(random(DecoderConfig.parse(SIZES)), TOKENIZER)
    task.packing = task.packing.model_copy(update={"length": 16, "tokens": 128})
    return task, lambda: task.measure([PlainText(TEXT, "")]).measurements[1].statistics


def filling():
    task = Filler(random(EncoderConfig.parse(SIZES)), TOKENIZER)
    task.packing = task.packing.model_copy(update={"length": 16, "tokens": 128})
    return task, lambda: task.measure([PlainText(TEXT, "")]).measurements[0].statistics


def translation():
    task = Translator(random(EncoderDecoderConfig.parse(SIZES)), TOKENIZER)
    return task, lambda: np.array([one.score for one in task.translate_with_scores(TEXTS)])


TASKS = [embedding, classification, answering, completion, filling, translation]


@any_error
@pytest.mark.parametrize("make", TASKS, ids=lambda make: make.__name__)
def test_batches_are_cut_until_they_fit_and_results_stay_the_same(make, error, capsys):
    task, work = make()
    expected = work()
    capsys.readouterr()
    most = 6 if make is translation else 3  # a beam is a row
    with crowded(task.model, most, error) as tried:
        found = work()
    assert max(tried) > most
    assert min(tried) <= most
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert "memory ran out: batches are computed in 2 pieces" in capsys.readouterr().err


@pytest.mark.parametrize("make", TASKS, ids=lambda make: make.__name__)
def test_a_row_that_does_not_fit_is_an_error_with_a_remedy(make):
    task, work = make()
    with (
        crowded(task.model, 0, ERRORS[0]),
        pytest.raises(ResourceError, match="memory is too small for a") as raised,
    ):
        work()
    assert raised.value.remedy


MODELS = {
    "decoder": DecoderConfig.parse(SIZES),
    "windows": DecoderConfig.parse({**SIZES, "window": {"size": 5, "global_every": 2}}),
    "learned positions": DecoderConfig.parse({**SIZES, "positions": "learned"}),
    "recurrent": RecurrentLMConfig(),
    "state space": StateSpaceLMConfig.parse(
        {"d_model": 16, "layers": 2, "dropout": 0.0, "mixer": {"heads": 4, "width": 8, "state": 6}}
    ),
}


@any_error
@pytest.mark.parametrize("name", MODELS)
def test_windows_of_perplexity_are_read_in_pieces(name, error, capsys):
    model = random(MODELS[name])
    expected = window_likelihood(model, TOKENIZER, TEXT, 32)
    with crowded(model, 8, error, dimension=1) as tried:
        found = window_likelihood(model, TOKENIZER, TEXT, 32)
    assert tried[:3] == [31, 16, 8]
    assert max(tried[2:]) == 8
    assert found.tokens == expected.tokens
    assert found.nll == pytest.approx(expected.nll, rel=1e-5)
    assert capsys.readouterr().err.count("memory ran out") == 2
    with (
        crowded(model, 0, error),
        pytest.raises(ResourceError, match="a token of a window") as raised,
    ):
        window_likelihood(model, TOKENIZER, TEXT, 32)
    assert "--context" in raised.value.remedy


@any_error
def test_validation_while_training_is_cut(error):
    tokens = torch.randint(4, len(TOKENIZER), (6, 9), generator=torch.Generator().manual_seed(0))
    valid = torch.ones(6, 8, dtype=torch.bool)
    batch = LanguageBatch(tokens[:, :-1], tokens[:, 1:], valid, torch.zeros(6, 8).long())
    model, objective = random(DecoderConfig.parse(SIZES)), CausalConfig().build()
    with torch.no_grad():
        expected = mean_losses(model, objective, [batch, batch])
        with crowded(model, 2, error) as tried:
            found = mean_losses(model, objective, [batch, batch])
        whole = type("Whole", (CausalObjective,), {"whole_step": True})(CausalConfig())
        with crowded(model, 2, error), pytest.raises(ResourceError, match="validation set"):
            mean_losses(model, whole, [batch])
    assert tried == [6, 3, 2, 2, 2, 2, 2, 2]
    assert found == pytest.approx(expected, rel=1e-6)


def test_pieces_stay_small_and_other_errors_pass():
    said, tried = [], []

    def work(rows):
        tried.append(len(rows))
        if len(rows) > 2:
            raise MemoryError
        return [row * row for row in rows]

    in_pieces = InPieces("a number", "count less", said.append)
    for _ in range(2):
        pairs = list(in_pieces.of(range(7), work))
        assert [one for rows, _ in pairs for one in rows] == list(range(7))
        assert [one for _, found in pairs for one in found] == [row * row for row in range(7)]
    assert tried == [7, 4, 2, 2, 2, 1, 2, 2, 2, 1]
    assert len(said) == 2
    with pytest.raises(ZeroDivisionError):
        list(in_pieces.of([1, 2], lambda rows: 1 / 0))


def test_one_of_several_processes_is_not_cut_by_itself(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)

    def work(rows):
        raise MemoryError

    with pytest.raises(ResourceError, match="one of several processes"):
        list(InPieces("a number", "count less").of([1, 2], work))

"""The page about word2vec: its numbers against autograd, its pictures, its mistakes."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from peluche.errors import ConfigError, DataError
from peluche.models.word_vectors import GloveConfig, Word2VecConfig
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe
from peluche.reporting.explain_words import explain_words, principal_components
from peluche.reporting.word_page import render_word_page
from peluche.tasks.word_vectors import WordVectors
from peluche.text.phrases import PhrasesConfig
from peluche.text.vocabulary import Vocabulary, VocabularyConfig

WORDS = ["the", "soft", "teddy_bear", "book", "<b>"]


@pytest.fixture(params=["skipgram", "cbow"])
def task(request):
    torch.manual_seed(0)
    model = Word2VecConfig(architecture=request.param, dimensions=6).build(len(WORDS))
    torch.nn.init.normal_(model.inputs.weight)
    torch.nn.init.normal_(model.outputs.weight)
    config = VocabularyConfig(phrases=PhrasesConfig())
    vocabulary = Vocabulary(
        WORDS, [9, 3, 2, 2, 1], config=config, phrases=[frozenset([("teddy", "bear")])]
    )
    return WordVectors(vocabulary, model.vectors(), model)


def test_every_step_is_what_autograd_says(task):
    found = explain_words(task, "The soft teddy bear, a book", rate=0.1)
    assert found.words == ("the", "soft", "teddy_bear", "book")
    assert found.unknown == ("a",)
    cbow = task.model.config.architecture == "cbow"
    assert len(found.steps) == (4 if cbow else 10)
    for step in found.steps:
        inputs = task.model.inputs.weight.detach().clone().requires_grad_()
        outputs = task.model.outputs.weight.detach().clone().requires_grad_()
        numbers = [word.id for word in step.read]
        target = torch.tensor([step.before.target.id])

        def forward(inputs, outputs, numbers=numbers):
            hidden = inputs[numbers].mean(0, keepdim=True)
            return hidden, hidden @ outputs.t()

        hidden, logits = forward(inputs, outputs)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        np.testing.assert_allclose(step.hidden, hidden.detach(), atol=1e-6)
        assert step.before.loss == pytest.approx(float(loss.detach()), rel=1e-5)
        with torch.no_grad():
            # word2vec moves every word of the context by the whole gradient of the mean.
            changed = inputs - 0.1 * len(numbers) * inputs.grad
            _, logits = forward(changed, outputs - 0.1 * outputs.grad)
            after = logits.softmax(-1)[0]
        assert step.after.loss == pytest.approx(-float(after[target].log()), rel=1e-4)
        assert step.after.loss < step.before.loss
        ordered = sorted(after.tolist(), reverse=True)
        said = [candidate.probability for candidate in step.after.candidates]
        assert said == pytest.approx(ordered[: len(said)], rel=1e-4)
        expected = pytest.approx(step.after.target.probability, rel=1e-4)
        assert ordered[step.after.rank - 1] == expected


def test_similarity_and_map(task):
    found = explain_words(task, "soft teddy bear book")
    np.testing.assert_array_equal(found.one_hot, np.eye(3))
    assert found.learned[0, 1] == pytest.approx(task.similarity("soft", "teddy bear"), abs=1e-6)
    assert set(found.mapped) == set(WORDS)
    assert found.places.shape == (5, 2)


def test_principal_components_are_those_of_the_covariance():
    torch.manual_seed(1)
    vectors = torch.randn(40, 5) * torch.tensor([5.0, 3, 1, 1, 1])
    places = principal_components(vectors)
    values = torch.linalg.eigvalsh(vectors.T.cov(correction=0)).flip(0)
    np.testing.assert_allclose(places.var(0), values[:2], rtol=1e-4)
    assert principal_components(torch.randn(2, 1)).shape == (2, 2)


def test_the_page_escapes_what_it_is_given(task):
    page = render_word_page(explain_words(task, "soft <script>alert(1)</script> teddy bear"))
    assert "<script" not in page
    assert "teddy bear" in page
    assert page.count("<details") == len(explain_words(task, "soft teddy bear").steps)
    json.dumps(explain_words(task, "soft teddy bear").as_json())


@pytest.mark.parametrize("sentence", ["", "soft", "nothing known here", "soft the " * 11])
def test_too_few_and_too_many_words(task, sentence):
    with pytest.raises(DataError, match="words of the vocabulary; a page shows 2 to 20"):
        explain_words(task, sentence)


def test_only_word2vec_has_a_softmax():
    model = GloveConfig(dimensions=3).build(2)
    task = WordVectors(Vocabulary(["a", "b"], [1, 1]), model.vectors(), model)
    with pytest.raises(ConfigError, match="only runs of word2vec"):
        explain_words(task, "a b")


def test_the_verb(command, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a soft teddy bear\na good book\n" * 10, encoding="utf-8")
    values = {
        "name": "tiny",
        "task": "word_vectors",
        "data": {"train": {"path": str(text)}},
        "model": {"dimensions": 4},
        "training": {"epochs": 1, "threads": 1},
    }
    values["model"]["kind"] = "word2vec"
    run, _ = train_recipe(parse_recipe(values), tmp_path / "run")
    result = command("explain", run.path, "a soft bear", "--pictures", tmp_path / "pictures")
    assert result.stdout == f"{run.path / 'report' / 'explain.html'}\n"
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        *("map.png", "map.svg", "similarity.png", "similarity.svg")
    }

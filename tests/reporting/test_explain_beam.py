"""The tree is the search: what lived, what ended, what won."""

from __future__ import annotations

import pytest
import torch
from explain_models import SENTENCE, make_model, make_tokenizer

from peluche.generation.config import DecodingConfig
from peluche.reporting.explain import explain
from peluche.tasks.translate import Translator


def settings(**changes):
    return DecodingConfig(**{"max_length_factor": 0, "max_length_offset": 8, **changes})


def lively_model(vocabulary):
    """[EOS] is likely enough that hypotheses of several lengths end."""
    model = make_model(vocabulary, tie_embeddings="none")
    with torch.no_grad():
        model.head.weight.mul_(0.3)
    return model


@pytest.fixture(
    scope="module",
    params=[
        settings(beams=4),
        settings(beams=3, length_normalization="gnmt", length_penalty=0.6),
        settings(beams=2, length_penalty=0.0),
    ],
    ids=["average", "gnmt", "plain"],
)
def searched(request):
    tokenizer = make_tokenizer()
    model = lively_model(len(tokenizer))
    return (
        model,
        tokenizer,
        request.param,
        explain(model, tokenizer, SENTENCE, decoding=request.param),
    )


def path_to(beam, index):
    nodes = []
    while index is not None:
        nodes.append(beam.nodes[index])
        index = beam.nodes[index].parent
    return nodes[::-1]


def test_parents_come_first_and_have_the_step_before(searched):
    beam = searched[3].beam
    root, *others = beam.nodes
    assert (root.step, root.parent, root.token) == (0, None, "[BOS]")
    for number, node in enumerate(others, start=1):
        assert node.parent < number
        parent = beam.nodes[node.parent]
        assert node.step == parent.step + 1
        assert node.log_probability <= parent.log_probability
        assert parent.state == "alive"


def test_no_step_keeps_more_than_the_beams(searched):
    beam = searched[3].beam
    for step in range(1, max(node.step for node in beam.nodes) + 1):
        here = [node for node in beam.nodes if node.step == step]
        assert sum(node.state != "finished" for node in here) <= beam.size
        assert sorted(node.log_probability for node in here) == [
            node.log_probability for node in sorted(here, key=lambda node: -node.rank)
        ]


def test_log_probabilities_are_the_models(searched):
    model, tokenizer, config, explanation = searched
    source = torch.tensor([[token.id for token in explanation.source.tokens]])
    with torch.no_grad():
        memory = model.encode(source, torch.ones_like(source).bool())
        for index, node in list(enumerate(explanation.beam.nodes))[1::3]:
            ids = [step.id for step in path_to(explanation.beam, index)]
            rows = model.logits(model.hidden(torch.tensor([ids[:-1]]), condition=memory))[0]
            picked = rows.log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
            assert node.log_probability == pytest.approx(float(picked.sum()), abs=1e-4)
            assert node.score == pytest.approx(
                node.log_probability / float(config.normaliser(node.step)), abs=1e-5
            )
            assert node.text == tokenizer.decode(ids[1:])


def test_the_best_finished_one_wins(searched):
    model, tokenizer, config, explanation = searched
    nodes = explanation.beam.nodes
    finished = [node for node in nodes if node.state == "finished"]
    winner = max(finished, key=lambda node: node.score)
    [found] = Translator(model, tokenizer, config).translate_with_scores([SENTENCE])
    assert winner.best
    assert winner.text == found.translation == explanation.target.text
    assert winner.score == pytest.approx(found.score, abs=1e-5)
    best = path_to(explanation.beam, nodes.index(winner))
    assert [node for node in nodes if node.best] == best
    assert [node.id for node in best[1:]] == [token.id for token in explanation.target.tokens]
    assert [node.log_probability for node in best[1:]] == pytest.approx(
        [step.log_probability for step in explanation.steps], abs=1e-4
    )


def test_dropped_ones_have_no_children(searched):
    nodes = searched[3].beam.nodes
    parents = {node.parent for node in nodes}
    assert any(node.state == "dropped" for node in nodes)
    for number, node in enumerate(nodes):
        assert (number in parents) == (node.state == "alive")


@pytest.mark.parametrize("chosen", [{"kind": "greedy"}, {"beams": 1}])
def test_one_beam_is_a_single_path(chosen):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer))
    explanation = explain(model, tokenizer, SENTENCE, decoding=settings(**chosen))
    nodes = explanation.beam.nodes
    assert [node.parent for node in nodes] == [None, *range(len(nodes) - 1)]
    assert all(node.best for node in nodes)
    assert [node.id for node in nodes[1:]] == [token.id for token in explanation.target.tokens]
    assert all(step.rank == 1 for step in explanation.steps[:-1])

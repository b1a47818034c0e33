"""word2vec's updates against gradients of the formula, and what is drawn at random."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from peluche.data.token_stream import TokenChunk
from peluche.data.windows import WindowConfig, draw_windows
from peluche.errors import ConfigError
from peluche.models.word_vectors import Word2VecConfig
from peluche.objectives.negative_sampling import NegativeSamplingConfig
from peluche.objectives.noise import alias_table, keep_probabilities
from peluche.objectives.word_softmax import WordSoftmaxConfig

ALL = WindowConfig(size=2, dynamic=False, subsample=0)


@pytest.fixture(params=["numba", "torch"])
def kernel(request):
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


def model(architecture, words=3, dimensions=8):
    torch.manual_seed(0)
    built = Word2VecConfig(architecture=architecture, dimensions=dimensions).build(words)
    torch.nn.init.normal_(built.inputs.weight)
    torch.nn.init.normal_(built.outputs.weight)
    return built


def chunk(*tokens, seed=1):
    return TokenChunk(torch.tensor(tokens, dtype=torch.int32), seed)


def sampling(kernel, counts, architecture, window=ALL, **options):
    config = NegativeSamplingConfig(kernel=kernel, **options)
    return config.build(np.array(counts), window, skipgram=architecture == "skipgram")


def formula(read, outputs, center, noise):
    """−log σ(x·w) − Σ log σ(−x·noise)"""
    said = F.logsigmoid(read @ outputs[center])
    return -(said + sum(F.logsigmoid(-read @ outputs[word]) for word in noise))


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_small_steps_are_the_gradient(kernel, architecture):
    """(weights after − before) / rate, at a tiny rate, is minus the gradient of the loss."""
    words = [0, 1, 0, 1, 1]
    moved, before = model(architecture), model(architecture)
    objective = sampling(kernel, [1, 1, 10**12], architecture, negatives=3, power=1.0)
    rate = 1e-4
    losses = objective.update(moved, chunk(*words, -1, 1), rate)
    loss, count = torch.zeros(()), 0
    for center in range(5):
        around = [p for p in range(center - 2, center + 3) if 0 <= p < 5 and p != center]
        reads = [before.inputs.weight[words[place]] for place in around]
        if architecture == "cbow":
            # The authors' gradient of the mean goes to each word whole.
            mean = torch.stack(reads).mean(0).detach()
            reads = [mean + sum(read - read.detach() for read in reads)]
        for read in reads:
            loss = loss + formula(read, before.outputs.weight, words[center], [2, 2, 2])
            count += 1
    loss.backward()
    assert losses.terms["loss"].count == count
    assert float(losses.terms["loss"].total) == pytest.approx(float(loss.detach()), rel=2e-2)
    for after, start in zip(moved.parameters(), before.parameters(), strict=True):
        slope = (after.detach() - start.detach()) / rate
        assert float((slope + start.grad).norm() / start.grad.norm()) < 2e-2


def test_the_loss_of_large_products_is_exact(kernel):
    one = model("skipgram", dimensions=1)
    with torch.no_grad():
        one.inputs.weight.fill_(10.0)
        one.outputs.weight.copy_(torch.tensor([[-4.0], [-4.0], [3.0]]))
    objective = sampling(kernel, [1, 1, 10**12], "skipgram", negatives=1, power=1.0)
    losses = objective.update(one, chunk(0, 1), 0.0)
    # −log σ(−40) − log σ(−30) of each of two pairs.
    assert float(losses.terms["loss"].total) == pytest.approx(2 * 70.0, rel=1e-6)


def test_a_rate_of_zero_changes_nothing(kernel):
    moved, before = model("skipgram", 5), model("skipgram", 5)
    objective = sampling(kernel, [5, 4, 3, 2, 1], "skipgram")
    objective.update(moved, chunk(0, 1, 2, 3, 4, 0), 0.0)
    for after, start in zip(moved.parameters(), before.parameters(), strict=True):
        assert torch.equal(after, start)


def test_texts_do_not_see_each_other(kernel):
    moved = model("skipgram", 4)
    objective = sampling(kernel, [1, 1, 1, 1], "skipgram")
    losses = objective.update(moved, chunk(0, -1, 1, -1, -1, 2), 0.1)
    assert losses.terms["loss"].count == 0
    assert float(losses.terms["loss"].total) == 0


def test_one_worker_repeats_itself(kernel):
    torch.manual_seed(3)
    tokens = torch.randint(-1, 50, (3000,)).tolist()
    found = []
    for _ in range(2):
        moved = model("skipgram", 50)
        objective = sampling(kernel, list(range(50, 0, -1)), "skipgram", WindowConfig())
        objective.update(moved, chunk(*tokens, seed=7), 0.1)
        found.append(moved.inputs.weight.detach().clone())
    assert torch.equal(*found)


def test_both_kernels_learn_alike():
    """The same text, by different draws: losses agree within what chance makes of them."""
    pytest.importorskip("numba")
    random = np.random.default_rng(0)
    # Words come in groups of ten that stand together.
    groups = random.integers(6, size=300)
    tokens = (groups[:, None] * 10 + random.integers(0, 10, (300, 8))).flatten().tolist()
    losses = {}
    for kernel in ("numba", "torch"):
        moved = model("skipgram", 60, 16)
        torch.nn.init.zeros_(moved.outputs.weight)
        objective = sampling(kernel, [1] * 60, "skipgram", WindowConfig(subsample=0))
        for seed in range(3):
            term = objective.update(moved, chunk(*tokens, seed=seed), 0.05).terms["loss"]
        losses[kernel] = float(term.total) / term.count
    assert losses["numba"] == pytest.approx(losses["torch"], rel=0.02)
    assert losses["numba"] < 0.6 * 6 * math.log(2)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_softmax_is_cross_entropy(architecture):
    whole = model(architecture, words=5).requires_grad_(False)
    objective = WordSoftmaxConfig().build(
        np.ones(5, dtype=np.int64), ALL, skipgram=architecture == "skipgram"
    )
    words = [0, 3, 2]
    batch = chunk(*words)
    losses = objective(whole, batch)
    total, count = 0.0, 0
    for center in range(3):
        reads = [whole.inputs.weight[words[p]] for p in range(3) if p != center]
        reads = [torch.stack(reads).mean(0)] if architecture == "cbow" else reads
        for read in reads:
            total -= float((read @ whole.outputs.weight.t()).log_softmax(-1)[words[center]])
            count += 1
    assert float(losses.terms["loss"].total) == pytest.approx(total, rel=1e-5)
    assert losses.terms["loss"].count == objective.counts(batch)["loss"] == count


def test_windows_hold_the_neighbours():
    windows = draw_windows(chunk(0, 1, 2, -1, 3, 4), ALL, torch.ones(5))
    found = [
        (int(center), sorted(context[valid].tolist()))
        for center, context, valid in zip(*windows, strict=True)
    ]
    assert found == [(0, [1, 2]), (1, [0, 2]), (2, [0, 1]), (3, [4]), (4, [3])]


def test_dynamic_windows_reach_each_distance_in_turn():
    words = torch.arange(20000, dtype=torch.int32)
    config = WindowConfig(size=4, subsample=0)
    centers, contexts, valid = draw_windows(TokenChunk(words, 1), config, torch.ones(20000))
    distance = (contexts - centers[:, None]).abs()
    share = [float((valid & (distance == d)).sum() / (2 * len(words))) for d in (1, 2, 3, 4)]
    assert share == pytest.approx([1, 0.75, 0.5, 0.25], abs=0.02)


def test_alias_table_is_the_distribution():
    weights = np.array([5.0, 1.0, 0.0, 3.0, 1.0])
    probability, alias = alias_table(weights)
    found = np.zeros(5)
    for column in range(5):
        found[column] += probability[column] / 5
        found[alias[column]] += (1 - probability[column]) / 5
    np.testing.assert_allclose(found, weights / 10, atol=1e-7)


def test_frequent_words_are_skipped():
    keep = keep_probabilities(np.array([900, 99, 1]), 0.01)
    np.testing.assert_allclose(
        keep[:2], [(0.01 / 0.9) ** 0.5 + 0.01 / 0.9, (0.01 / 0.099) ** 0.5 + 0.01 / 0.099]
    )
    assert keep[2] == 1
    assert (keep_probabilities(np.array([900, 1]), 0.0) == 1).all()


def test_noise_follows_the_counts():
    objective = sampling("torch", [8, 1, 1], "skipgram", power=1.0)
    share = np.bincount(objective._noise(20000, 3).flatten().numpy(), minlength=3) / 100000
    np.testing.assert_allclose(share, [0.8, 0.1, 0.1], atol=0.01)


def test_a_kernel_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr("peluche.objectives.negative_sampling.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"peluche\[vectors\]"):
        NegativeSamplingConfig.parse({"kernel": "numba"})
    assert not NegativeSamplingConfig().compiled

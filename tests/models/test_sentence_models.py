"""Taggers and parsers: neither padding nor company changes what is said of a sentence."""

import numpy as np
import pytest
import torch

from peluche.config import parse_as
from peluche.data.annotation import Coding, SentenceWindow
from peluche.data.sentences import Sentence
from peluche.models.dependency_parser import DependencyParserConfig
from peluche.models.span_parser import SpanParserConfig
from peluche.models.tagger import TaggerConfig
from peluche.objectives.parsing import ConstituencyConfig, DependencyConfig
from peluche.objectives.tagging import TaggingConfig
from peluche.text.labels import Labels
from peluche.text.lexicon import LexiconConfig

SENTENCES = [
    Sentence(
        ["the", "small", "bear", "reads", "a", "book"],
        "t:1",
        ["D", "A", "N", "V", "D", "N"],
        [3, 3, 4, 0, 6, 4],
        ["det", "amod", "nsubj", "root", "det", "obj"],
        [(0, 6, "S"), (0, 3, "NP"), (3, 6, "VP"), (4, 6, "NP")],
    ),
    Sentence(["bears", "sleep"], "t:2", ["N", "V"], [2, 0], ["nsubj", "root"], [(0, 2, "S+VP")]),
    Sentence(["oh"], "t:3", ["I"], [0], ["root"], []),
]
ENCODERS = [
    {"kind": "recurrent", "embedding": 6, "hidden": 5, "layers": 2},
    {"kind": "transformer", "d_model": 8, "heads": 2, "layers": 1, "d_ff": 16},
    {"kind": "convolutional", "embedding": 6, "filters": 4, "widths": [3]},
]
MODELS = {
    "tagger": (TaggerConfig, {}, TaggingConfig()),
    "crf": (TaggerConfig, {"crf": True}, TaggingConfig()),
    "dependency": (DependencyParserConfig, {"arcs": 6, "relations": 5}, DependencyConfig()),
    "span": (SpanParserConfig, {"ends": 6}, ConstituencyConfig()),
}


def make_coding():
    return Coding(
        LexiconConfig(min_count=1).build(sentence.tokens for sentence in SENTENCES),
        tags=Labels.of(tag for sentence in SENTENCES for tag in sentence.tags),
        relations=Labels.of(name for sentence in SENTENCES for name in sentence.relations),
        constituents=Labels.of({"", *(span[2] for one in SENTENCES for span in one.spans)}),
    )


def make(name, encoder):
    torch.manual_seed(0)
    config, values, objective = MODELS[name]
    coding = make_coding()
    model = parse_as(config, {"encoder": encoder, **values}).build(coding).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model, coding, objective.build()


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda values: values["kind"])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_of_a_batch_is_that_of_its_sentences(name, encoder):
    model, coding, objective = make(name, encoder)
    window = coding.encode(SENTENCES)
    together = objective(model, window.batch(np.arange(3)))
    alone = [objective(model, window.batch(np.array([row]))) for row in range(3)]
    assert {term: one.count for term, one in together.terms.items()} == objective.counts(
        window.batch(np.arange(3))
    )
    for term, one in together.terms.items():
        torch.testing.assert_close(one.total, sum(other.terms[term].total for other in alone))
        assert one.count == sum(other.terms[term].count for other in alone)
        assert torch.isfinite(one.total)
    for name_, metric in together.metrics.items():
        assert metric.total == pytest.approx(sum(o.metrics[name_].total for o in alone))


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    model, coding, objective = make(name, ENCODERS[0])
    losses = objective(model.train(), coding.encode(SENTENCES).batch(np.arange(3)))
    sum(term.total for term in losses.terms.values()).backward()
    idle = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    assert idle == {"reader.encoder.segments.weight"}


def test_a_tagger_may_read_words_alone():
    coding = make_coding()
    model = TaggerConfig(characters=None).build(coding)
    assert model.reader.spelling is None
    assert model.decode(coding.encode(SENTENCES).batch(np.arange(3))).shape == (3, 6)


def test_the_spelling_tells_unknown_words_apart():
    model, coding, _ = make("tagger", ENCODERS[0])
    window = SentenceWindow(coding.lexicon, [["bearers"], ["readers"]])
    batch = window.batch(np.arange(2))
    assert batch.words.tolist() == [[1], [1]]
    one, other = model.logits(batch)
    assert not torch.allclose(one, other)


def test_heads_are_never_padding():
    model, coding, _ = make("dependency", ENCODERS[0])
    read = model.read(coding.encode(SENTENCES).batch(np.arange(3)))
    assert read.arcs.shape == (3, 6, 7)
    assert torch.isinf(read.arcs[1, :, 3:]).all()
    assert torch.isfinite(read.arcs[1, :, :3]).all()


def test_what_naming_a_span_gains():
    model, coding, _ = make("span", ENCODERS[0])
    scores = model(coding.encode(SENTENCES).batch(np.arange(3)))
    gains = model.gains(scores)
    assert (gains[..., 0] == 0).all()
    spans = scores.spans
    torch.testing.assert_close(gains[..., 1], spans[..., 1] - spans[..., 0])

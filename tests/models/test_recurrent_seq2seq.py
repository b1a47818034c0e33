"""Recurrent sequence to sequence: every combination, and outputs however it is run."""

import pytest
import torch

from peluche.errors import ConfigError
from peluche.generation.batching import generate
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import ModelDecoder
from peluche.generation.search import Request
from peluche.models.recurrent_seq2seq import RecurrentSeq2seqConfig
from peluche.nn.trace import tracing

VOCABULARY = 23
CELLS = ["rnn", "gru", "lstm"]
LOOKS = [
    {"attention": "none"},
    {"attention": "fixed"},
    {"attention": "bahdanau"},
    {"attention": "luong", "score": "dot"},
    {"attention": "luong", "score": "general"},
    {"attention": "luong", "score": "concat"},
    {"attention": "luong", "input_feeding": False},
]
SOURCE = torch.tensor([[5, 6, 7, 8, 9, 3], [9, 10, 11, 3, 0, 0], [3, 0, 0, 0, 0, 0]])
VALID = SOURCE != 0
TARGET = torch.tensor([[2, 5, 6, 7, 12, 4, 8], [2, 9, 9, 8, 4, 5, 22], [2, 4, 4, 4, 4, 4, 4]])


def names(look):
    return "-".join(str(value) for value in look.values())


looks = pytest.mark.parametrize("look", LOOKS, ids=names)
cells = pytest.mark.parametrize("cell", CELLS)


def make(**settings):
    sizes = {"embedding": 6, "hidden": 8, "layers": 2}
    config = RecurrentSeq2seqConfig.parse(sizes | settings)
    torch.manual_seed(0)
    model = config.build(VOCABULARY).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return model


def logits(model, source=SOURCE, valid=VALID, target=TARGET):
    with torch.no_grad():
        return model.logits(model.hidden(target, condition=model.encode(source, valid)))


@looks
@cells
@pytest.mark.parametrize("bidirectional", [True, False])
def test_every_combination_has_finite_gradients_everywhere(look, cell, bidirectional):
    model = make(cell=cell, bidirectional=bidirectional, dropout=0.2, **look).train()
    hidden = model.hidden(TARGET, condition=model.encode(SOURCE, VALID))
    model.token_loss(hidden.flatten(0, 1), TARGET.flatten(), 0.1).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@looks
def test_gradients_equal_finite_differences(look):
    model = make(cell="lstm", **look).double()
    parameters = list(model.parameters())
    directions = [torch.randn_like(parameter) for parameter in parameters]

    def loss(distance):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data.add_(direction, alpha=distance)
        hidden = model.hidden(TARGET, condition=model.encode(SOURCE, VALID))
        total = torch.nn.functional.cross_entropy(
            model.logits(hidden).flatten(0, 1), TARGET.flatten(), reduction="sum"
        )
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data.sub_(direction, alpha=distance)
        return total

    loss(0.0).backward()
    slope = sum(
        float((parameter.grad * direction).sum())
        for parameter, direction in zip(parameters, directions, strict=True)
    )
    step = 1e-6
    found = (loss(step) - loss(-step)).detach()
    assert float(found) / (2 * step) == pytest.approx(slope, rel=1e-6)


@looks
@cells
@pytest.mark.parametrize("decoder_layers", [1, 2])
def test_cached_equals_uncached(look, cell, decoder_layers):
    model = make(cell=cell, decoder_layers=decoder_layers, **look)
    expected = logits(model)
    with torch.no_grad():
        memory = model.project_memory(model.encode(SOURCE, VALID))
        for sizes in ([1] * 7, [3, 1, 2, 1], [7]):
            state, found, start = model.start_state(memory, 1, 7), [], 0
            for size in sizes:
                places = torch.arange(start, start + size)
                found.append(
                    model.hidden(TARGET[:, places], condition=memory, positions=places, state=state)
                )
                start += size
            found = model.logits(torch.cat(found, 1))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@looks
@cells
def test_going_back_and_on_equals_uncached(look, cell):
    model = make(cell=cell, **look)
    changed = TARGET.clone()
    changed[:, 3:5] = 15
    with torch.no_grad():
        memory = model.encode(SOURCE, VALID)
        state = model.start_state(memory, 1, 7)
        model.hidden(changed[:, :5], condition=memory, positions=torch.arange(5), state=state)
        state.truncate(3)
        later = torch.arange(3, 7)
        hidden = model.hidden(TARGET[:, 3:], condition=memory, positions=later, state=state)
    torch.testing.assert_close(model.logits(hidden), logits(model)[:, 3:], atol=1e-5, rtol=0)


@looks
@cells
def test_beams_that_share_a_source_equal_rows_of_their_own(look, cell):
    model = make(cell=cell, **look)
    beams, steps = 3, 5
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        memory = model.encode(SOURCE, VALID)
        state = model.start_state(memory, beams, steps)
        read = torch.zeros(9, 0, dtype=torch.long)
        for step in range(steps):
            token = torch.randint(4, VOCABULARY, (9, 1), generator=generator)
            read = torch.cat([read, token], 1)
            places = torch.tensor([step])
            hidden = model.hidden(token, condition=memory, positions=places, state=state)
            expected = logits(
                model, SOURCE.repeat_interleave(3, 0), VALID.repeat_interleave(3, 0), read
            )
            torch.testing.assert_close(
                model.logits(hidden)[:, 0], expected[:, -1], atol=1e-5, rtol=0
            )
            parents = torch.randint(0, beams, (3, beams), generator=generator)
            rows = (parents + torch.arange(3)[:, None] * beams).flatten()
            state.select(rows)
            read = read[rows]


@looks
@cells
def test_batched_and_padded_equal_one_by_one(look, cell):
    model = make(cell=cell, **look)
    together = logits(model)
    for row in range(3):
        length = int(VALID[row].sum())
        alone = logits(
            model,
            SOURCE[row : row + 1, :length],
            VALID[row : row + 1, :length],
            TARGET[row : row + 1],
        )
        torch.testing.assert_close(alone, together[row : row + 1], atol=1e-5, rtol=0)


@looks
def test_the_future_does_not_matter_and_the_source_does(look):
    model = make(**look)
    changed = TARGET.clone()
    changed[:, 4:] = 17
    before, after = logits(model), logits(model, target=changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
    turned = SOURCE.clone()
    turned[0, :5] = SOURCE[0, :5].flip(0)
    assert not torch.allclose(logits(model, source=turned)[0], before[0], atol=1e-3)


@looks
@cells
def test_traced_equals_fused(look, cell):
    model = make(cell=cell, **look)
    with tracing() as trace:
        traced = logits(model)
    torch.testing.assert_close(traced, logits(model), atol=1e-5, rtol=0)
    weights = [tensor for name, tensor in trace.items() if name.endswith("attention.weights")]
    if look["attention"] in ("none", "fixed"):
        assert not weights
        return
    weights = torch.cat(weights, 2)
    assert weights.shape == (3, 1, 7, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 1, 7))
    assert not weights[1, :, :, 4:].any()


@looks
@cells
@pytest.mark.parametrize("kind", ["greedy", "beam", "sample"])
def test_searches_give_the_same_in_a_batch_and_alone(look, cell, kind):
    model = make(cell=cell, **look)
    decoding = DecodingConfig(kind=kind, beams=3, n_best=1 if kind == "greedy" else 2)
    requests = [
        Request(source, limit, prefix, stream=number)
        for number, (source, limit, prefix) in enumerate(
            [([5, 6, 7, 8, 9, 3], 9, []), ([9, 10, 3], 6, [7, 5]), ([3], 4, []), ([8, 8, 3], 7, [])]
        )
    ]
    together = generate(ModelDecoder(model), requests, decoding)
    for request, expected in zip(requests, together, strict=True):
        [alone] = generate(ModelDecoder(model), [request], decoding)
        assert [one.tokens for one in alone] == [one.tokens for one in expected]
        for one, other in zip(alone, expected, strict=True):
            assert one.tokens[: len(request.prefix)] == request.prefix
            assert one.score == pytest.approx(other.score, abs=1e-4)
            whole = torch.tensor([[2, *one.tokens, 3]])
            source = torch.tensor([request.source])
            scores = logits(model, source, source != 0, whole[:, :-1]).log_softmax(-1)
            exact = scores[0].gather(1, whole[0, 1:, None]).mean()
            assert one.score == pytest.approx(float(exact), abs=1e-4)


@pytest.mark.parametrize("tie", ["all", "decoder", "none"])
def test_state_dict_comes_back(tie):
    model = make(tie_embeddings=tie)
    again = model.config.build(VOCABULARY).eval()
    again.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert torch.equal(logits(again), logits(model))
    assert (again.head.weight is again.target.weight) == (tie != "none")
    assert (again.source is again.target) == (tie == "all")


def test_parameter_counts():
    def count(**settings):
        sizes = {"embedding": 20, "hidden": 32, "tie_embeddings": "all"}
        model = RecurrentSeq2seqConfig.parse(sizes | settings).build(1000)
        return sum(parameter.numel() for parameter in model.parameters())

    def gru(inputs, width):
        return 3 * width * (inputs + width + 2)

    common = 1000 * 20 + 2 * gru(20, 16) + (32 * 32 + 32)
    assert count(attention="none") == common + gru(20, 32) + (32 * 20 + 20)
    assert count(attention="fixed") == common + gru(20 + 32, 32) + (84 * 20 + 20)
    additive = 2 * 32 * 32 + 32 + 32
    assert count(attention="bahdanau") == common + additive + gru(52, 32) + (84 * 20 + 20)
    assert count(attention="luong") == common + 32 * 32 + gru(40, 32) + (64 * 20 + 20)
    assert count(attention="luong", score="dot") == count(attention="luong") - 32 * 32
    assert count(tie_embeddings="none") == count() + 2 * 1000 * 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 7}, "nearest that fits: 8"),
        ({"attention": "bahdanau", "score": "dot"}, "luong has"),
        ({"attention": "luong", "score": "dot", "encoder_hidden": 8}, "of width 16"),
        ({"attention": "lung"}, "attention"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)

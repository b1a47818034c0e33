"""The encoder-decoder: every combination, and outputs that do not depend on how it is run."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.nn.state import StaticState
from peluche.nn.trace import tracing

VOCABULARY = 23
POSITIONS = ["sinusoidal", "learned", "rope", "alibi", "relative", "none"]
PLACEMENTS = ["pre", "post", "sandwich"]
ACTIVATIONS = ["relu", "gelu", "relu2", "swiglu", "geglu"]

SOURCE = torch.tensor([[5, 6, 7, 8, 9, 3], [9, 10, 11, 3, 0, 0], [3, 0, 0, 0, 0, 0]])
VALID = SOURCE != 0
TARGET = torch.tensor([[2, 5, 6, 7, 12, 4, 8], [2, 9, 9, 8, 4, 5, 22], [2, 4, 4, 4, 4, 4, 4]])


def make(**settings):
    sizes = {"d_model": 16, "heads": 4, "d_ff": 20, "layers": 2, "decoder_layers": 1}
    config = EncoderDecoderConfig.parse(sizes | settings)
    torch.manual_seed(0)
    model = config.build(VOCABULARY).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model


def logits(model, source=SOURCE, valid=VALID, target=TARGET):
    with torch.no_grad():
        return model.logits(model.hidden(target, condition=model.encode(source, valid)))


def state_for(model, rows, capacity):
    config = model.config
    return StaticState(
        len(model.decoder.blocks),
        rows,
        config.kv_heads or config.heads,
        config.d_model // config.heads,
        capacity,
    )


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_combination_runs_forward_and_backward(positions, placement):
    kinds = zip(ACTIVATIONS, [None, 2, 1, None, 2], strict=True)
    for number, (activation, kv_heads) in enumerate(kinds):
        norm = ["layernorm", "rmsnorm"][number % 2]
        model = make(
            d_model=8,
            positions=positions,
            norm_placement=placement,
            activation=activation,
            kv_heads=kv_heads,
            norm=norm,
            bias=norm == "layernorm",
            dropout=0.1,
            attention_dropout=0.1,
            activation_dropout=0.1,
            layers=1,
        ).train()
        hidden = model.hidden(TARGET, condition=model.encode(SOURCE, VALID))
        model.token_loss(hidden.flatten(0, 1), TARGET.flatten(), 0.1).loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("kv_heads", [None, 2])
def test_cached_equals_uncached(positions, kv_heads):
    model = make(positions=positions, kv_heads=kv_heads, decoder_layers=2)
    expected = logits(model)
    with torch.no_grad():
        memory = model.project_memory(model.encode(SOURCE, VALID))
        for sizes in ([1] * 7, [3, 1, 2, 1], [7], [1, 6]):
            state, found, start = state_for(model, 3, 7), [], 0
            for size in sizes:
                places = torch.arange(start, start + size)
                hidden = model.hidden(
                    TARGET[:, places], condition=memory, positions=places, state=state
                )
                found.append(model.logits(hidden))
                start += size
            torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", POSITIONS)
def test_going_back_and_on_equals_uncached(positions):
    model = make(positions=positions)
    changed = TARGET.clone()
    changed[:, 3:5] = 15
    with torch.no_grad():
        memory = model.encode(SOURCE, VALID)
        state = state_for(model, 3, 7)
        model.hidden(changed[:, :5], condition=memory, positions=torch.arange(5), state=state)
        state.truncate(3)
        later = torch.arange(3, 7)
        hidden = model.hidden(TARGET[:, 3:], condition=memory, positions=later, state=state)
    torch.testing.assert_close(model.logits(hidden), logits(model)[:, 3:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", POSITIONS)
def test_beams_that_share_a_source_equal_rows_of_their_own(positions):
    model = make(positions=positions, kv_heads=2, decoder_layers=2)
    beams, steps = 3, 5
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        memory = model.project_memory(model.encode(SOURCE, VALID))
        state = StaticState(2, 3 * beams, 2, 4, steps)
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


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_batched_and_padded_equal_one_by_one(positions, placement):
    model = make(positions=positions, norm_placement=placement)
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


@given(width=st.integers(0, 5), what=st.integers(0, VOCABULARY - 1))
@settings(max_examples=20, deadline=None)
def test_what_stands_in_the_padding_does_not_matter(width, what):
    model = make()
    source = torch.where(VALID, SOURCE, what)
    source = torch.cat([source, torch.full((3, width), what)], 1)
    valid = torch.cat([VALID, torch.zeros(3, width, dtype=torch.bool)], 1)
    torch.testing.assert_close(logits(model, source, valid), logits(model), atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_future_does_not_matter_at_all(positions):
    model = make(positions=positions)
    changed = TARGET.clone()
    changed[:, 4:] = 17
    before, after = logits(model), logits(model, target=changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_a_source_without_tokens_is_no_source():
    """Nothing to look at: finite, and the same for whatever stands in the padding."""
    model = make()
    valid = VALID.clone()
    valid[2] = False
    found = logits(model, valid=valid)
    assert torch.isfinite(found).all()
    other = SOURCE.clone()
    other[2] = 9
    assert torch.equal(found, logits(model, source=other, valid=valid))


@pytest.mark.parametrize("positions", ["sinusoidal", "rope", "alibi", "relative", "learned"])
def test_order_matters_unless_there_are_no_positions(positions):
    turned = SOURCE.clone()
    turned[0, :5] = SOURCE[0, :5].flip(0)
    ordered, unordered = make(positions=positions), make(positions="none")
    assert not torch.allclose(logits(ordered)[0], logits(ordered, source=turned)[0], atol=1e-3)
    torch.testing.assert_close(logits(unordered), logits(unordered, source=turned))


@pytest.mark.parametrize("settings", [{}, {"positions": "alibi"}, {"norm_placement": "post"}])
def test_traced_equals_fused(settings):
    model = make(**settings)
    with tracing() as trace:
        traced = logits(model)
    torch.testing.assert_close(traced, logits(model), atol=1e-5, rtol=0)
    weights = trace["decoder.0.cross_attention.weights"]
    assert weights.shape == (3, 4, 7, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, 7))
    assert not weights[1, :, :, 4:].any()
    past = trace["decoder.0.self_attention.weights"]
    assert torch.equal(past, past.tril())
    with torch.no_grad():
        read = model.encode(SOURCE, VALID).hidden
    torch.testing.assert_close(trace["encoder.output"], read, atol=1e-5, rtol=0)


def test_loss_is_that_of_the_logits():
    model = make()
    found = logits(model).flatten(0, 1)
    with torch.no_grad():
        hidden = model.hidden(TARGET, condition=model.encode(SOURCE, VALID)).flatten(0, 1)
        loss, nll = model.token_loss(hidden, TARGET.flatten(), 0.1)
    expected = torch.nn.functional.cross_entropy(
        found, TARGET.flatten(), label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-5)
    expected = torch.nn.functional.cross_entropy(found, TARGET.flatten(), reduction="sum")
    torch.testing.assert_close(nll, expected, atol=1e-3, rtol=1e-5)


def test_tied_weights_are_one():
    everything = make(tie_embeddings="all")
    assert everything.encoder.embedding.weight is everything.decoder.embedding.weight
    assert everything.head.weight is everything.decoder.embedding.weight
    decoder = make(tie_embeddings="decoder")
    assert decoder.encoder.embedding.weight is not decoder.decoder.embedding.weight
    assert decoder.head.weight is decoder.decoder.embedding.weight
    nothing = make(tie_embeddings="none")
    assert nothing.head.weight is not nothing.decoder.embedding.weight


@pytest.mark.parametrize("tie", ["all", "decoder", "none"])
def test_state_dict_comes_back(tie):
    model = make(tie_embeddings=tie)
    again = model.config.build(VOCABULARY).eval()
    again.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert torch.equal(logits(again), logits(model))
    if tie == "all":
        assert again.head.weight is again.encoder.embedding.weight


def test_parameter_counts():
    """Multi30k's Transformer-tiny: 4 + 4 layers, d=128, FFN 256, 4 heads, V 9,709, post-norm."""
    config = EncoderDecoderConfig(
        d_model=128, layers=4, heads=4, d_ff=256, norm_placement="post", positions="sinusoidal"
    )
    attention, norm, feed_forward = 4 * (128 * 128 + 128), 2 * 128, 2 * 128 * 256 + 256 + 128
    encoder = 4 * (attention + feed_forward + 2 * norm)
    decoder = 4 * (2 * attention + feed_forward + 3 * norm)

    def count(**changes):
        model = config.model_copy(update=changes).build(9709)
        return sum(parameter.numel() for parameter in model.parameters())

    whole = 9709 * 128 + encoder + decoder
    assert count() == whole == 2_567_808
    assert count(norm_placement="pre") == whole + 2 * norm
    assert count(tie_embeddings="decoder") == whole + 9709 * 128
    assert count(tie_embeddings="none") == whole + 2 * 9709 * 128
    assert count(positions="learned") == whole + 2 * 512 * 128
    assert count(positions="relative") == whole + 2 * 32 * 4
    assert count(activation="swiglu") == whole + 8 * (128 * 256 + 256)
    assert count(kv_heads=1) == whole - 12 * 2 * (96 * 128 + 96)
    assert count(norm="rmsnorm") == whole - 20 * 128


def test_initial_outputs_have_the_size_they_are_meant_to_have():
    torch.manual_seed(0)
    for placement in PLACEMENTS:
        config = EncoderDecoderConfig(d_model=64, heads=4, layers=6, norm_placement=placement)
        found = logits(config.build(VOCABULARY).eval())
        assert 0.5 < found.std() < 2
        nll = torch.nn.functional.cross_entropy(found.flatten(0, 1), TARGET.roll(-1, 1).flatten())
        assert nll < 2 * torch.tensor(VOCABULARY).log()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("positions", POSITIONS)
def test_the_whole_model_moves_to_another_type(positions, dtype):
    model = make(positions=positions)
    expected = logits(model)
    moved = model.to(dtype)
    found = logits(moved)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float64 else 0.3
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0)
    hidden = moved.hidden(TARGET, condition=moved.encode(SOURCE, VALID))
    moved.token_loss(hidden.flatten(0, 1), TARGET.flatten()).loss.backward()

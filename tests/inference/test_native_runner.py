"""The compiled operator's whole step: equal to the model, whatever is read together or in parts."""

import copy
from unittest.mock import Mock

import pytest
import torch
from test_native_products import kept, rounded

from peluche.errors import ConfigError
from peluche.inference.half import HalfRunner
from peluche.inference.native.build import cpu_levels, native_library
from peluche.inference.native.runner import NativeRunner, runs_natively
from peluche.inference.native.structures import PHASES
from peluche.inference.native.weights import Store
from peluche.inference.runner import Chunk, fastest_runner
from peluche.inference.torch_runner import TorchRunner
from peluche.models.decoder import DecoderConfig
from peluche.nn.rotary import Rotary
from peluche.tasks.engines import bytes_per_token

SETTINGS = {
    "grouped": {"heads": 4, "kv_heads": 2},
    "one shared head": {"heads": 2, "kv_heads": 1, "tie_embeddings": False},
    "odd sizes": {"d_model": 40, "heads": 3, "kv_heads": 3, "head_width": 20, "d_ff": 50},
    **{
        f"stretched by {scaling['kind']}": {"rope": {"base": 500, "scaling": scaling}}
        for scaling in (
            {"kind": "linear", "factor": 3},
            {"kind": "ntk", "factor": 3},
            {"kind": "yarn", "factor": 4, "original_length": 16},
            {"kind": "llama3", "factor": 4, "original_length": 16},
        )
    },
    "scaled": {"scale_embeddings": True, "attention_scale": 0.3, "norm_epsilon": 1e-3},
    "unweighted norms": {"norm": "plain_rmsnorm"},
    "normalised input": {"norm_input": True, "norm": "plain_rmsnorm"},
    "biases": {"bias": True, "d_model": 40, "heads": 2, "head_width": 20, "d_ff": 50},
}
GEMMA = {"activation": "geglu_tanh", "norm_placement": "sandwich", "scale_embeddings": True}
# What sets a family apart from Llama.
FAMILIES = {
    "llama": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True, "head_width": 24},
    "mistral": {"window": {"size": 7}},
    "gemma 2": GEMMA
    | {"attention_softcap": 0.3, "logit_softcap": 1.0, "window": {"size": 7, "global_every": 2}},
    "gemma 3": GEMMA
    | {"qk_norm": True, "window": {"size": 20, "global_every": 2, "rope": {"base": 100}}},
}
VOCABULARY = 75


def model_with(vocabulary=VOCABULARY, **changes):
    torch.manual_seed(0)
    sizes = {"d_model": 64, "layers": 2, "heads": 4, "d_ff": 96}
    parts = {"activation": "swiglu", "norm": "rmsnorm", "bias": False, "dropout": 0.0}
    model = DecoderConfig(**(sizes | parts | changes)).build(vocabulary).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.25)
    return model


def tokens(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (count,), generator=generator).tolist()


@torch.inference_mode()
def logits_of(model, read):
    return model.logits(model.hidden(torch.tensor([read])))[0]


@pytest.fixture(params=cpu_levels())
def level(request, monkeypatch):
    monkeypatch.setenv("PELUCHE_CPU", request.param)
    if native_library() is None:
        pytest.skip("there is no C++ compiler")


@pytest.fixture
def native():
    if native_library() is None:
        pytest.skip("there is no C++ compiler")


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("setting", SETTINGS | FAMILIES)
def test_float32_is_the_model(setting):
    model, read = model_with(**(SETTINGS | FAMILIES)[setting]), tokens(40)
    assert runs_natively(model)
    found = NativeRunner(model, 8, 16, "float32").run([Chunk(read, 0, [3, 1, 5], 40)])
    torch.testing.assert_close(found, logits_of(model, read), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("level")
def test_activations_and_caps_far_from_zero():
    model, read = model_with(**FAMILIES["gemma 2"]), tokens(40)
    for block in model.decoder.blocks:
        block.feed_forward.gate.weight.data *= 30
        block.self_attention.query.weight.data *= 30
    model.decoder.norm.weight.data *= 30
    found = NativeRunner(model, 8, 16, "float32").run([Chunk(read, 0, [3, 1, 5], 40)])
    expected = logits_of(model, read)
    assert (expected.abs() > 0.999).any()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(
    ("family", "weights"),
    [
        *(("llama", weights) for weights in ("int4", "float16")),
        *((one, "int8") for one in FAMILIES),
    ],
)
def test_packed_weights_are_the_model_of_such_weights_and_rows(family, weights):
    model, read = model_with(kv_heads=2, **FAMILIES[family]), tokens(40)
    found = NativeRunner(model, 8, 16, weights).run([Chunk(read, 0, [3, 1, 5], 40)])
    simulated = copy.deepcopy(model)
    linears = [each for each in simulated.modules() if isinstance(each, torch.nn.Linear)]
    for linear in linears:
        linear.weight.data = kept(linear.weight.data, weights)
        if weights != "float16":
            linear.register_forward_pre_hook(
                lambda _, given: (rounded(given[0].flatten(0, -2))[None],)
            )
    simulated.decoder.embedding.weight = simulated.head.weight
    expected, plain = logits_of(simulated, read), logits_of(model, read)
    # A number on the border between two levels may go either way.
    error = (found - expected).norm() / expected.norm()
    assert error < (1e-5 if weights == "float16" else 3e-3)
    assert error < 0.2 * (expected - plain).norm() / expected.norm()


def spoil(runner, blocks=slice(None)):
    """What is no number, in every format: scales of int8 included."""
    runner.memory[:, blocks] = -1 if runner.kv_cache == "int8" else torch.nan


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(
    ("family", "weights", "kv_cache"),
    [
        *((family, weights, "float32") for weights in ("float32", "auto") for family in FAMILIES),
        *((family, "auto", kv) for kv in ("float16", "int8") for family in ("llama", "gemma 2")),
    ],
)
def test_in_parts_and_among_others_a_sequence_gives_exactly_the_same(family, weights, kv_cache):
    model = model_with(kv_heads=2, **FAMILIES[family])
    runner = NativeRunner(model, 24, 16, weights, kv_cache)
    # Whatever is left there by others.
    spoil(runner)
    first, second = tokens(60, 1), tokens(33, 2)
    whole = runner.run([Chunk(first, 0, [0, 1, 2, 3], 60)])
    other = runner.run([Chunk(second, 0, [4, 5, 6], 33)])
    assert whole.isfinite().all()
    spoil(runner)
    blocks, others = [9, 2, 17, 5], [11, 3, 8]
    found, beside, at = [], [], 0
    for until in (1, 18, 20, 45, 60):
        both = runner.run(
            [
                Chunk(first[at:until], at, blocks, until - at),
                Chunk(second[at // 2 : until // 2], at // 2, others, until // 2 - at // 2),
            ][: 1 if until == 1 else 2]
        )
        found.append(both[: until - at])
        beside.append(both[until - at :])
        at = until
    assert torch.equal(torch.cat(found), whole)
    assert torch.equal(torch.cat(beside), other[:30])


@pytest.mark.usefixtures("native")
def test_only_wanted_rows_are_given():
    runner, read = NativeRunner(model_with(), 8, 16, "float32"), tokens(20)
    whole = runner.run([Chunk(read, 0, [0, 1], 20)])
    chunks = [Chunk(read[:9], 0, [2], 0), Chunk(read, 0, [3, 4], 3), Chunk(read[:5], 0, [5], 1)]
    assert torch.equal(runner.run(chunks), whole[[17, 18, 19, 4]])
    assert runner.run(chunks[:1]).shape == (0, VOCABULARY)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(("block_size", "window"), [(16, None), (48, 600), (16, 40)])
def test_long_pasts_are_put_together_from_segments(block_size, window):
    model = model_with(kv_heads=2, layers=1, window=window and {"size": window})
    read, blocks = tokens(1100), list(range(1104 // block_size))[::-1]
    runner = NativeRunner(model, len(blocks), block_size, "float32")
    runner.run([Chunk(read[:1000], 0, blocks, 0)])
    found = runner.run([Chunk(read[1000:], 1000, blocks, 100)])
    torch.testing.assert_close(found, logits_of(model, read)[1000:], rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("windows", [{"size": 40}, {"size": 40, "global_every": 2}])
def test_a_step_takes_no_more_memory_for_what_no_layer_looks_at(windows):
    runner = NativeRunner(model_with(kv_heads=2, window=windows), 150, 16)
    sizes = []
    for end in (600, 1200, 2300):
        runner._scratch = torch.empty(0, dtype=torch.uint8)
        runner.run([Chunk(tokens(20), end - 20, range(150), 20)])
        sizes.append(len(runner._scratch))
    assert (sizes[2] == sizes[0]) == ("global_every" not in windows)


@pytest.mark.usefixtures("level")
def test_what_is_behind_the_window_reaches_nobody():
    model, read = model_with(kv_heads=2, layers=1, window={"size": 40}), tokens(600)
    runner, blocks = NativeRunner(model, 38, 16), list(range(38))
    runner.run([Chunk(read[:595], 0, blocks, 0)])
    expected = runner.run([Chunk(read[595:], 595, blocks, 5)])
    # The first token sees positions from 556 on: all of block 34 but twelve slots.
    runner.memory[:, :34] = torch.nan
    # Of each head: keys (width, slots) and values (slots, width).
    keys, values = runner.memory[0, 34].view(2, 2, 16, 16).unbind(1)
    keys[..., :12] = values[:, :12] = torch.nan
    found = runner.run([Chunk(read[595:], 595, blocks, 5)])
    assert torch.equal(found, expected)
    values[:, 12] = torch.nan
    found = runner.run([Chunk(read[595:], 595, blocks, 5)])
    assert found[0].isnan().all()
    assert torch.equal(found[1:], expected[1:])


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("kv_cache", ["float32", "int8"])
@pytest.mark.parametrize("family", ["mistral", "gemma 2"])
def test_blocks_behind_the_window_are_not_read(family, kv_cache):
    model, read = model_with(kv_heads=2, **FAMILIES[family]), tokens(600)
    runner, blocks = NativeRunner(model, 40, 16, kv_cache=kv_cache), list(range(1, 40))
    assert runner.window == (7 if family == "mistral" else None)
    expected = runner.run([Chunk(read, 0, blocks, 600)])
    spoil(runner)
    for start, end in ((0, 100), (100, 102), (102, 103), (103, 300), (300, 590), (590, 600)):
        if runner.window is not None:
            gone = (start + 1 - 7) // 16 if start else 0
            blocks[:gone] = [-1] * gone
            spoil(runner, slice(gone + 1))
        found = runner.run([Chunk(read[start:end], start, blocks, end - start)])
        assert torch.equal(found, expected[start:end])
    assert blocks.count(-1) == (36 if family == "mistral" else 0)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("kv_cache", ["float16", "int8"])
@pytest.mark.parametrize(
    "setting",
    [{"kv_heads": 2}, {"heads": 3, "kv_heads": 3, "head_width": 20}, FAMILIES["gemma 2"]],
    ids=["whole lanes", "padded", "gemma 2"],
)
def test_rounded_keys_and_values_are_those_of_torch(setting, kv_cache):
    model, read, blocks = model_with(**setting), tokens(600), list(range(38))[::-1]
    for block in model.decoder.blocks:
        block.self_attention.key.weight.data *= 30  # far from zero
    chunk = Chunk(read, 0, blocks, 600)
    found = NativeRunner(model, 38, 16, "float32", kv_cache).run([chunk])
    expected, plain = (
        TorchRunner(model, 38, 16, each).run([chunk]) for each in (kv_cache, "float32")
    )
    # A number on the border between two levels may go either way.
    error = (found - expected).norm() / expected.norm()
    assert error < 3e-3
    assert error < 0.2 * (expected - plain).norm() / expected.norm()


@pytest.mark.usefixtures("level")
def test_a_sequence_of_no_numbers_is_no_other_ones_fault_in_int8():
    model, well = model_with(tie_embeddings=False), tokens(20)
    model.decoder.embedding.weight.data[0] = torch.nan
    well = [max(1, token) for token in well]
    runner = NativeRunner(model, 4, 16, "float32", "int8")
    expected = runner.run([Chunk(well, 0, [0, 1], 20)])
    assert expected.isfinite().all()
    both = [Chunk([5, 0, 6], 0, [2], 3), Chunk(well, 0, [0, 1], 20)]
    found = runner.run(both)
    assert found[0].isfinite().all()
    assert found[1:3].isnan().all()
    assert torch.equal(found[3:], expected)
    # What was no number is still none when it is read from memory.
    assert runner.run([Chunk([7], 3, [2], 1)]).isnan().all()


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(("kv_cache", "share"), [("float16", 1 / 2), ("int8", 68 / 256)])
def test_what_keys_and_values_take(kv_cache, share):
    model = model_with(kv_heads=2, head_width=64)
    exact, less = (NativeRunner(model, 8, 16, kv_cache=each) for each in ("float32", kv_cache))
    assert less.memory.nbytes == share * exact.memory.nbytes
    assert less.memory.nbytes == 8 * 16 * bytes_per_token(model, kv_cache)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    "chunk",
    [
        Chunk([VOCABULARY], 0, [0], 1),
        Chunk([-1], 0, [0], 1),
        Chunk([1], 0, [8], 1),
        Chunk([1], 0, [-1], 1),
        Chunk([1], 16, [0], 1),
        Chunk([], 0, [0], 0),
        Chunk([1, 2], -1, [0], 1),
        Chunk([1, 2, 3], 0, [0], 5),
        Chunk([1, 2, 3], 0, [0], -1),
    ],
)
def test_nothing_outside_of_memory_is_touched(chunk):
    runner = NativeRunner(model_with(), 8, 16, "float32")
    with pytest.raises(IndexError):
        runner.run([chunk])


@pytest.mark.usefixtures("native")
def test_a_missing_block_within_the_window_is_refused():
    runner = NativeRunner(model_with(window={"size": 7}), 8, 16, "float32")
    with pytest.raises(IndexError):
        runner.run([Chunk([1], 21, [-1, 1], 1)])  # sees position 15
    runner.run([Chunk([1], 22, [-1, 1], 1)])


@pytest.mark.usefixtures("native")
def test_a_copied_block_goes_on_as_its_source():
    runner, read = NativeRunner(model_with(), 8, 16), tokens(20)
    whole = runner.run([Chunk(read, 0, [0, 1], 20)])
    runner.copy(0, 6)
    found = runner.run([Chunk(read[16:], 16, [6, 7], 4)])
    assert torch.equal(found, whole[16:])


@pytest.mark.usefixtures("native")
def test_changed_weights_show_after_refresh():
    model, read = model_with(), tokens(9)
    runner = NativeRunner(model, 2, 16, "float32")
    before = runner.run([Chunk(read, 0, [0], 9)])
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    assert torch.equal(runner.run([Chunk(read, 0, [0], 9)]), before)
    runner.refresh(model)
    found = runner.run([Chunk(read, 0, [0], 9)])
    torch.testing.assert_close(found, logits_of(model, read), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("native")
def test_after_an_interrupted_refresh_the_weights_before_are_used(monkeypatch):
    model, read = model_with(), tokens(9)
    runner = NativeRunner(model, 2, 16, "float32")
    before = runner.run([Chunk(read, 0, [0], 9)])
    size = runner.packed_bytes
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    with monkeypatch.context() as patch:
        patch.setattr(
            "peluche.inference.native.copied._epsilon", Mock(side_effect=KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            runner.refresh(model)
    assert runner.packed_bytes == size
    assert torch.equal(runner.run([Chunk(read, 0, [0], 9)]), before)


@pytest.mark.usefixtures("native")
def test_an_interruption_between_two_lengths_leaves_the_first(monkeypatch):
    model, read = model_with(layers=1), tokens(1100)
    runner = NativeRunner(model, 69, 16, "float32")
    with monkeypatch.context() as patch:
        patch.setattr(Rotary, "turns", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runner.run([Chunk(read, 0, range(69), 1)])
    found = runner.run([Chunk(read, 0, range(69), 1100)])
    torch.testing.assert_close(found, logits_of(model, read), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("weights", ["float32", "float16", "int8", "int4", "auto"])
@pytest.mark.parametrize("vocabulary", [75, 20_000])
def test_no_more_memory_is_mapped_than_is_needed(monkeypatch, weights, vocabulary):
    sizes = []

    class Measured(Store):
        def __init__(self, size):
            sizes.append(size)
            super().__init__(size)

    monkeypatch.setattr("peluche.inference.native.copied.Store", Measured)
    # With so little of it, most is padding.
    model = model_with(d_model=8, heads=2, d_ff=40, tie_embeddings=False, vocabulary=vocabulary)
    runner = NativeRunner(model, 2, 16, weights)
    assert sizes[0] >= runner.packed_bytes
    usual = NativeRunner(model_with(d_model=128, d_ff=256), 2, 16, weights)
    assert usual.packed_bytes <= sizes[1] <= 1.1 * usual.packed_bytes


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("family", ["llama", "gemma 2"])
def test_threads_change_nothing(monkeypatch, family):
    runner = NativeRunner(model_with(kv_heads=2, **FAMILIES[family]), 8, 16)
    chunks = [Chunk(tokens(30), 0, [0, 1], 30), Chunk(tokens(40, 1), 0, [2, 3, 4], 40)]
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(runner.run(chunks))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert len(runner.seconds) == len(PHASES)
    assert (runner.seconds > 0).all()


def test_what_the_operator_does_not_know_is_left_to_torch():
    unknown = [
        {"norm": "layernorm"},
        {"norm_placement": "post"},
        {"activation": "geglu"},
        {"activation": "gelu_tanh"},
        {"positions": "learned"},
        {"mup": {"d_model": 32, "head_width": 16}},
        {"experts": {"count": 2, "active": 1, "d_ff": 16}},
    ]
    assert not any(runs_natively(model_with(**changes)) for changes in unknown)
    assert not runs_natively(model_with(), block_size=8)
    model = model_with(norm="layernorm")
    assert isinstance(fastest_runner(model, 4), TorchRunner)
    with pytest.raises(ConfigError, match="no runner with int8 weights"):
        fastest_runner(model, 4, weights="int8")
    with pytest.raises(ValueError, match="runs_natively"):
        NativeRunner(model, 4)


@pytest.mark.usefixtures("native")
def test_who_runs_what(monkeypatch):
    model = model_with()
    # Small models gain nothing.
    assert isinstance(fastest_runner(model, 4), TorchRunner)
    assert isinstance(fastest_runner(model, 4, weights="int8"), NativeRunner)
    monkeypatch.setattr("peluche.inference.runner.LEAST_PARAMETERS", 1)
    assert isinstance(fastest_runner(model, 4), NativeRunner)
    assert isinstance(fastest_runner(model, 4, kv_cache="int8"), NativeRunner)
    monkeypatch.setenv("PELUCHE_NATIVE", "0")
    for weights in ("auto", "float16", "int8"):
        assert isinstance(fastest_runner(model, 4, weights=weights), HalfRunner)
    assert type(fastest_runner(model, 4, weights="float32")) is TorchRunner


def test_half_precision_by_torch_alone():
    model, read = model_with(bias=True, activation="gelu"), tokens(40)
    runner = HalfRunner(model, 4, 16)
    expected = logits_of(model, read)
    for _ in range(2):
        found = runner.run([Chunk(read, 0, [0, 1, 2], 40)])
        error = (found - expected).norm() / expected.norm()
        assert 0 < error < 1e-3
        for parameter in model.parameters():
            parameter.data.mul_(1.05)
        runner.refresh(model)
        expected = logits_of(model, read)

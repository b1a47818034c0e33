"""Reading in chunks over blocks gives what the model gives at once, whatever parts it has."""

from __future__ import annotations

import pytest
import torch

from peluche.errors import ConfigError
from peluche.inference.paged import PlainPages, QuantisedPages
from peluche.inference.runner import Chunk, fastest_runner
from peluche.inference.torch_runner import PackedReader, PlainReader, TorchRunner
from peluche.models.decoder import Decoder, DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig

VOCABULARY, BLOCKS, SIZE = 40, 24, 4
PACKED = [
    {"positions": "rope", "kv_heads": 2, "norm": "rmsnorm", "activation": "swiglu", "bias": False},
    {"positions": "learned", "activation": "gelu", "norm_placement": "post"},
    {"positions": "alibi", "norm_placement": "sandwich", "norm_input": True},
    {"positions": "relative", "kv_heads": 1, "tie_embeddings": False},
    {"positions": "sinusoidal", "activation": "relu2"},
    {"window": {"size": 3, "global_every": 2, "rope": {"base": 100}}, "qk_norm": True},
    {"attention_softcap": 2.0, "logit_softcap": 3.0, "attention_scale": 0.5, "qkv_bias": True},
    {"mup": {"d_model": 8, "head_width": 2}, "head_width": 6, "scale_embeddings": True},
]
WINDOWED = [
    {**PACKED[0], "window": {"size": 6}},
    {"window": {"size": 5}, "positions": "alibi"},
    {"window": {"size": 1}, "positions": "relative"},
]
PLAIN = [
    {"latent": {"kv_rank": 8, "rope_width": 4}, "bias": False},
    {"latent": {"kv_rank": 8, "rope_width": 4}, "bias": False, "window": {"size": 3}},
    {"experts": {"count": 3, "active": 2}, "positions": "alibi"},
    {"experts": {"count": 3, "active": 2}, "positions": "alibi", "window": {"size": 6}},
]


def model_with(**settings: object) -> Decoder:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "layers": 3, "heads": 4, "d_ff": 24, "max_length": 32}
    model = DecoderConfig.parse(sizes | settings).build(VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def texts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randint(VOCABULARY, (length,), generator=generator).tolist() for length in lengths
    ]


SCATTERED = torch.randperm(BLOCKS, generator=torch.Generator().manual_seed(2)).tolist()


def read(
    runner: TorchRunner,
    given: list[list[int]],
    cuts: list[list[int]],
    blocks: list[int] = SCATTERED,
) -> list[torch.Tensor]:
    """The logits after every token of each text, read in so many chunks at the same time."""
    # More than are needed.
    tables = [blocks[number::3] for number in range(len(given))]
    found: list[list[torch.Tensor]] = [[] for _ in given]
    at = [0] * len(given)
    for counts in zip(*cuts, strict=True):
        chunks, members = [], []
        for number, count in enumerate(counts):
            if count:
                tokens = given[number][at[number] : at[number] + count]
                chunks.append(Chunk(tokens, at[number], tables[number], count))
                members.append(number)
                at[number] += count
        rows = runner.run(chunks).split([chunk.wanted for chunk in chunks])
        for number, part in zip(members, rows, strict=True):
            found[number].append(part)
    assert at == [len(each) for each in given]
    return [torch.cat(parts) for parts in found]


CUTS = [[5, 1, 4, 1, 2], [1, 1, 4, 0, 1], [3, 1, 4, 12, 1]]


@pytest.mark.parametrize("settings", [*PACKED, *WINDOWED, *PLAIN], ids=lambda each: "-".join(each))
def test_logits_equal_the_models(settings):
    model = model_with(**settings)
    given = texts(13, 7, 21)
    runner = fastest_runner(model, BLOCKS, SIZE)
    assert isinstance(runner, TorchRunner)
    assert isinstance(runner.reader, PlainReader if settings in PLAIN else PackedReader)
    with torch.inference_mode():
        runner.memory.keys.slots.fill_(torch.nan)  # what was left there is nobody's
        runner.memory.values.slots.fill_(torch.nan)
        found = read(runner, given, CUTS)
        for text, logits in zip(given, found, strict=True):
            expected = model.logits(model.hidden(torch.tensor([text])))[0]
            torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("settings", PACKED, ids=lambda each: "-".join(each))
def test_packed_weights_equal_the_model_as_it_is(settings):
    model, given = model_with(**settings), texts(13, 7, 21)
    packed, plain = TorchRunner(model, BLOCKS, SIZE), TorchRunner(model, BLOCKS, SIZE)
    plain.reader = PlainReader(model)
    for one, other in zip(read(packed, given, CUTS), read(plain, given, CUTS), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


@pytest.mark.parametrize("settings", [*WINDOWED, PLAIN[1], PLAIN[3]], ids=lambda o: "-".join(o))
def test_blocks_behind_the_window_are_not_read(settings):
    model, given = model_with(**settings), texts(29, 17)
    runner = fastest_runner(model, BLOCKS, SIZE)
    window = settings["window"]["size"]
    assert runner.window == window
    tables = [SCATTERED[:8], SCATTERED[8:16]]
    found = [[], []]
    for start in range(29):
        chunks = []
        for text, table in zip(given, tables, strict=True):
            # By hand: of each block, whether its last position is seen.
            for place, block in enumerate(table):
                if block >= 0 and (place + 1) * SIZE - 1 < start - window + 1:
                    runner.memory.keys.slots[:, block] = torch.nan
                    runner.memory.values.slots[:, block] = torch.nan
                    table[place] = -1
            chunks.append(Chunk(text[start : start + 1], start, table, 1))
        chunks = [chunk for chunk in chunks if chunk.tokens]
        for rows, row in zip(found, runner.run(chunks), strict=False):
            rows.append(row)
    assert tables[0].count(-1) == (29 - window) // SIZE
    with torch.inference_mode():
        for text, rows in zip(given, found, strict=True):
            expected = model.logits(model.hidden(torch.tensor([text])))[0]
            torch.testing.assert_close(torch.stack(rows), expected, rtol=0, atol=2e-5)


def test_a_layer_without_a_window_keeps_everything():
    mixed = model_with(window={"size": 3, "global_every": 3})
    assert fastest_runner(mixed, BLOCKS, SIZE).window is None
    assert fastest_runner(model_with(), BLOCKS, SIZE).window is None


@pytest.mark.parametrize("kv_cache", ["float32", "float16", "int8"])
@pytest.mark.parametrize("settings", [PACKED[0], PLAIN[2]], ids=["packed", "plain"])
def test_blocks_in_a_row_are_read_like_others(settings, kv_cache):
    model, given = model_with(**settings), texts(13)
    runner = fastest_runner(model, BLOCKS, SIZE, kv_cache=kv_cache)
    (scattered,), (in_a_row,) = (
        read(runner, given, CUTS[:1], blocks) for blocks in (SCATTERED, sorted(3 * SCATTERED))
    )
    assert torch.equal(scattered, in_a_row)


def test_only_what_is_wanted_comes_in_the_order_of_the_chunks():
    model, given = model_with(), texts(9, 2, 9)
    runner = TorchRunner(model, BLOCKS, SIZE)
    chunks = [
        Chunk(text, 0, [8 * number, 8 * number + 1, 8 * number + 2], wanted)
        for number, (text, wanted) in enumerate(zip(given, [2, 1, 0], strict=True))
    ]
    with torch.inference_mode():
        whole = [model.logits(model.hidden(torch.tensor([text])))[0] for text in given]
    expected = torch.cat([whole[0][-2:], whole[1][-1:]])
    torch.testing.assert_close(runner.run(chunks), expected, rtol=0, atol=2e-5)
    assert runner.run(chunks[2:]).shape == (0, VOCABULARY)


def test_a_copied_block_is_read_like_the_first():
    model, (text,) = model_with(), texts(7)
    runner = TorchRunner(model, BLOCKS, SIZE)
    expected = runner.run([Chunk(text, 0, [3, 4], 1)])
    runner.run([Chunk(text[:6], 0, [3, 5], 0)])
    runner.copy(5, 9)
    runner.run([Chunk([0, 0], 4, [3, 5], 0)])
    found = runner.run([Chunk(text[6:], 6, [3, 9], 1)])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kv_cache", ["float32", "float16", "int8"])
@pytest.mark.parametrize("settings", [PACKED[0], PLAIN[0]], ids=["packed", "plain"])
def test_what_is_no_number_stays_with_its_sequence(settings, kv_cache):
    model = model_with(**settings)
    with torch.no_grad():
        model.decoder.embedding.weight[0] = torch.nan
    if model.config.tie_embeddings:
        model.head.weight = torch.nn.Parameter(torch.randn(VOCABULARY, 16))
    runner = fastest_runner(model, 4, SIZE, kv_cache=kv_cache)
    well, ill = [1, 2, 3, 4, 5], [1, 0, 3, 4, 5, 6]
    expected = runner.run([Chunk(well, 0, [0, 1], 1)])
    assert bool(expected.isfinite().all())
    found = runner.run([Chunk(well[:4], 0, [0], 0), Chunk(ill[:4], 0, [2], 1)])
    assert bool(found.isnan().all())
    found = runner.run([Chunk(ill[4:], 4, [2, 3], 1), Chunk(well[4:], 4, [0, 1], 1)])
    assert bool(found[0].isnan().all())
    torch.testing.assert_close(found[1:], expected, rtol=0, atol=2e-5)
    # The same blocks for somebody else.
    torch.testing.assert_close(runner.run([Chunk(well, 0, [3, 2], 1)]), expected, rtol=0, atol=2e-5)


def test_quantised_numbers_are_near():
    pages = QuantisedPages((1, 3, SIZE, 2, 8), torch.zeros(1))
    rows = torch.randn(5, 2, 8) * torch.tensor([1e-3, 1.0, 50.0, 1e4, 0.0])[:, None, None]
    pages.write(0, torch.tensor([0, 1, 2, 3, 9]), rows)
    found = pages.read(0, torch.tensor([0, 2])).flatten(0, 1)[[0, 1, 2, 3, 5]]
    bound = rows.abs().amax(-1, keepdim=True) / 254
    assert bool(((found - rows).abs() <= bound * (1 + 1e-5)).all())
    assert bool(((found - rows).abs() > bound * 0.5).any())


def test_quantised_memory_is_a_quarter_and_changes_little():
    model, given = model_with(**PACKED[0], head_width=64), texts(13, 7, 21)
    plain, small = (fastest_runner(model, BLOCKS, SIZE, kv_cache=k) for k in ("float32", "int8"))
    assert isinstance(plain.memory.keys, PlainPages)
    bytes_plain = plain.memory.keys.slots.nbytes
    bytes_small = small.memory.keys.numbers.slots.nbytes + small.memory.keys.scales.slots.nbytes
    assert bytes_small <= 0.27 * bytes_plain
    expected, found = read(plain, given, CUTS), read(small, given, CUTS)
    for one, other in zip(found, expected, strict=True):
        difference = one.softmax(-1) - other.softmax(-1)
        assert 0 < difference.abs().sum(-1).max() / 2 < 0.05  # total variation


def test_double_precision_and_no_gradients():
    model = model_with().double()
    found = fastest_runner(model, BLOCKS, SIZE).run([Chunk([1, 2], 0, [0], 1)])
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_models_without_keys_and_values_are_refused():
    model = RecurrentLMConfig().build(VOCABULARY)
    with pytest.raises(ConfigError, match="use Completer"):
        fastest_runner(model, BLOCKS, SIZE)
    with pytest.raises(ConfigError, match="no runner with int4"):
        fastest_runner(model_with(), BLOCKS, SIZE, weights="int4")

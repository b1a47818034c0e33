"""GGUF files that are damaged, or that lie: one clear error, soon, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gguf_models
from malformed import LARGE, fuzzed, go_all_the_way, plain, refused
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.gguf import GGUFFile, write_gguf
from peluche.tasks.load import load_completer
from peluche.text.pretrained import to_gguf
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["A cute teddy bear is reading.", "Bears, 12 of them — it's 3 o'clock!", "Un ours mignon"]


@pytest.fixture(scope="module")
def ggufs(tmp_path_factory):
    """Metadata and tensors by architecture; of most, a vocabulary of pieces and scores."""
    config = TokenizerConfig(vocab_size=300, byte_level=True, normalization="none")
    path, made = tmp_path_factory.mktemp("malformed") / "a.gguf", {}
    for case in ("llama", "mixtral", "llama 3", "phi3", "gemma2", "gpt2"):
        merged = case in ("llama", "gpt2")
        vocabulary = to_gguf(config.build(TEXTS * 3)) if merged else gguf_models.pieces()
        gguf_models.write(path, case, vocabulary)
        file = GGUFFile(path)
        made[case] = file.metadata, {name: file.tensor(name).numpy() for name in file.tensors}
    return made


@pytest.fixture(scope="module")
def gguf(ggufs):
    return ggufs["llama"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "key",
    [
        "block_count", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "attention.key_length",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [LARGE, LARGE - 1])
def test_sizes_that_the_tensors_of_gguf_do_not_have_are_refused(gguf, tmp_path, key, size):
    metadata, tensors = gguf
    write_gguf(tmp_path / "a.gguf", {**metadata, f"llama.{key}": size}, tensors, "F32")
    with pytest.raises((CheckpointError, ConfigError)):
        load_completer(tmp_path / "a.gguf")


def test_heads_in_the_file_are_of_the_width_that_it_says(gguf, tmp_path):
    metadata, tensors = gguf
    widths = dict.fromkeys(("llama.attention.key_length", "llama.attention.value_length"), 6)
    write_gguf(tmp_path / "a.gguf", {**metadata, **widths}, tensors, "F32")
    with pytest.raises(CheckpointError, match=r"attn_q\.weight' is of another shape"):
        load_completer(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("llama.attention.layer_norm_rms_epsilon", "x", r"epsilon is 'x': .* valid number"),
        ("llama.rope.freq_base", math.inf, r"freq_base is inf: .* finite number"),
        ("llama.block_count", True, r"block_count is True: .* valid integer"),
        ("tokenizer.ggml.eos_token_id", "x", r"eos_token_id is 'x': .* valid integer"),
        ("tokenizer.ggml.bos_token_id", [1], r"bos_token_id is \[1\]: .* valid integer"),
        ("tokenizer.ggml.token_type", 5, r"token_type is 5: .* valid list"),
        ("tokenizer.ggml.tokens", [7] * 300, r"tokens\.0 is 7: .* valid string"),
        ("tokenizer.ggml.pre", ["x"], r"pre is \['x'\]: .* valid string"),
        ("tokenizer.ggml.eos_token_id", 10**9, "its eos token is 1000000000, which its vocab"),
        ("tokenizer.ggml.bos_token_id", 10**9, "its bos token is 1000000000, which its vocab"),
        ("tokenizer.ggml.bos_token_id", -7, "bos_token_id is -7"),
    ],
)
def test_metadata_of_another_type_are_named(gguf, tmp_path, key, value, reason):
    metadata, tensors = gguf
    write_gguf(tmp_path / "a.gguf", {**metadata, key: value}, tensors, "F32")
    with pytest.raises((CheckpointError, ConfigError), match=reason) as raised:
        load_completer(tmp_path / "a.gguf")
    assert raised.value.where == str(tmp_path / "a.gguf")


def test_an_id_that_is_minus_one_without_a_sign_is_none(gguf, tmp_path):
    metadata, tensors = gguf
    metadata = {**metadata, "tokenizer.ggml.unknown_token_id": 2**32 - 1}
    write_gguf(tmp_path / "a.gguf", metadata, tensors, "F32")
    assert load_completer(tmp_path / "a.gguf").tokenizer.unk_id == -1


def test_the_command_line_says_which_weights_are_damaged(gguf, command, tmp_path):
    metadata, tensors = gguf
    tensors = {**tensors, "output_norm.weight": tensors["output_norm.weight"] * math.nan}
    write_gguf(tmp_path / "a.gguf", metadata, tensors, "F32")
    (tmp_path / "text.txt").write_text(TEXTS[0])
    done = command("perplexity", "a.gguf", "text.txt", "--context", "8", "--json", cwd=tmp_path)
    assert done.returncode == CheckpointError.exit_code
    assert done.stdout == ""
    assert "'decoder.norm.weight' holds NaN or infinity" in done.stderr


@pytest.mark.timeout(600)
@fuzzed
@given(data=st.data())
def test_mutated_gguf_metadata_give_one_clear_error(ggufs, tmp_path, data):
    metadata, tensors = ggufs[data.draw(st.sampled_from(sorted(ggufs)))]
    metadata = dict(metadata)
    for key in data.draw(st.lists(st.sampled_from(sorted(metadata)), min_size=1, max_size=2)):
        kinds = [plain, st.lists(st.text(max_size=2), max_size=3), st.lists(st.integers(-2, 9))]
        old = metadata.get(key)
        if isinstance(old, list):
            kinds += [st.just(old[:5]), st.just(old + old[:3]), st.just(old[::-1])]
        metadata[key] = data.draw(st.one_of(*kinds))
    write_gguf(tmp_path / "a.gguf", metadata, tensors, "F32")
    refused(tmp_path / "a.gguf")


def test_what_is_not_mutated_goes_all_the_way(ggufs, tmp_path):
    for gguf in ggufs.values():
        write_gguf(tmp_path / "a.gguf", *gguf, "F32")
        go_all_the_way(tmp_path / "a.gguf")

"""What GGUF files may say that has no equal here: the key or the tensor is named."""

import numpy as np
import pytest

from gguf_models import pieces, write
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.gguf import GGUFFile, write_gguf
from peluche.tasks.load import load_completer


@pytest.mark.parametrize(
    ("case", "key", "value", "reason"),
    [
        ("llama", "general.architecture", "rwkv6", "of architecture 'rwkv6' cannot be read"),
        ("llama", "llama.rope.dimension_count", 4, "rope.dimension_count is 4, and heads have 8"),
        ("llama", "llama.attention.value_length", 4, "attention.value_length is 4"),
        ("llama", "llama.rope.scaling.type", "longrope", "rope.scaling.type is 'longrope'"),
        ("llama", "llama.rope.scaling.attn_factor", 2.0, "rope.scaling.attn_factor is 2.0"),
        ("llama", "llama.attention.head_count", 0, "attention.head_count is 0"),
        ("llama", "llama.attention.head_count_kv", [2, 2, 2], "head_count_kv is \\[2, 2, 2\\]"),
        ("llama 3", "llama.rope.freq_base", 1e4, "'rope_freqs.weight' is none of Llama 3's"),
        ("llama 3", "llama.rope.scaling.factor", 2.0, "'rope_freqs.weight' and a scaling"),
        ("mixtral", "llama.expert_count", 5, r"router.weight' has the shape \(4, 32\), not \(5"),
        ("gemma3", "gemma3.attention.sliding_window", None, "lack 'gemma3.attention.sliding"),
        ("gpt2", "gpt2.attention.layer_norm_epsilon", None, "lack 'gpt2.attention.layer_norm_eps"),
    ],
)
def test_a_setting_that_has_no_equal_is_named(tmp_path, case, key, value, reason):
    path = tmp_path / "a.gguf"
    write(path, case, pieces(), **{key: value})
    with pytest.raises((ConfigError, CheckpointError), match=reason) as raised:
        load_completer(path)
    assert raised.value.where == str(path)


@pytest.mark.parametrize(
    "name", ["blk.0.attn_q.bias", "blk.2.ffn_gate_exps.weight", "rope_factors_long.weight"]
)
def test_a_tensor_that_is_not_read_is_named(tmp_path, name):
    path = tmp_path / "a.gguf"
    write(path, "qwen3", pieces())
    file = GGUFFile(path)
    tensors = {one: file.tensor(one).numpy() for one in file.tensors}
    write_gguf(path, file.metadata, {**tensors, name: np.zeros(4, np.float32)}, "F32")
    with pytest.raises(ConfigError, match=f"no equal here: it has '{name}'") as raised:
        load_completer(path)
    assert raised.value.where == str(path)


def test_a_window_that_the_file_declares_is_kept(tmp_path):
    path = tmp_path / "a.gguf"
    write(path, "phi3", pieces(), **{"phi3.attention.sliding_window": 5})
    assert load_completer(path).model.config.window.size == 5
    write(path, "phi3", pieces(), **{"phi3.attention.sliding_window": 0})
    assert load_completer(path).model.config.window is None

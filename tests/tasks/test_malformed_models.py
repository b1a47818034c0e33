"""Files of models that are damaged, or that lie: one clear error, soon, and nothing else."""

import copy
import json
import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from malformed import LARGE, fuzzed, go_all_the_way, plain, refused
from peluche.errors import CheckpointError, ConfigError, NumericsError
from peluche.generation.sampling import SamplingParameters
from peluche.hub.decoder_export import export_huggingface_decoder
from peluche.models.decoder import DecoderConfig
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.tasks.complete import Completer
from peluche.tasks.load import load_completer
from peluche.tasks.perplexity import TextLikelihood, window_likelihood
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["A cute teddy bear is reading.", "Bears, 12 of them — it's 3 o'clock!", "Un ours mignon"]
PLAIN = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24, "dropout": 0.0}
LLAMA = {**PLAIN, "kv_heads": 1, "activation": "swiglu", "norm": "rmsnorm", "bias": False}
GEMMA = {
    **LLAMA, "norm_placement": "sandwich", "scale_embeddings": True, "qk_norm": True,
    "activation": "geglu_tanh", "window": {"size": 4, "global_every": 2},
}  # fmt: skip
MODELS = {
    "llama": DecoderConfig.parse(LLAMA),
    "gpt2": DecoderConfig.parse({**PLAIN, "activation": "gelu_tanh", "positions": "learned"}),
    "mixtral": DecoderConfig.parse({**LLAMA, "experts": {"count": 4}}),
    "gemma3_text": DecoderConfig.parse(GEMMA),
    "mamba2": StateSpaceLMConfig.parse(
        {"d_model": 16, "layers": 2, "dropout": 0.0, "mixer": {"heads": 4, "width": 8, "state": 6}}
    ),
}
JSON_FILES = ("config.json", "tokenizer_config.json", "generation_config.json", "tokenizer.json")
SPECIAL = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, "unk_token_id": 1}


@pytest.fixture(scope="module")
def tokenizer():
    config = TokenizerConfig(vocab_size=300, byte_level=True, normalization="none")
    return config.build(TEXTS * 3)


@pytest.fixture(scope="module")
def llama(tokenizer):
    torch.manual_seed(0)
    return MODELS["llama"].build(len(tokenizer)).eval()


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory):
    made = {}
    for name, config in MODELS.items():
        torch.manual_seed(0)
        state = config.build(len(tokenizer)).state_dict()
        made[name] = tmp_path_factory.mktemp("malformed") / name
        export_huggingface_decoder(config, state, tokenizer, made[name])
        values = json.loads((made[name] / "config.json").read_text())
        assert values["model_type"] == name
        (made[name] / "config.json").write_text(json.dumps({**SPECIAL, **values}))
        (made[name] / "generation_config.json").write_text(json.dumps(SPECIAL))
    return made


def changed(folder, path, name, change):
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(folder, path)
    values = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(change(values)))
    return path


SIZES = {
    "llama": [
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "head_dim",
    ],
    "gpt2": ["n_embd", "n_layer", "n_head", "n_inner", "n_positions"],
    "mixtral": ["num_local_experts", "intermediate_size", "num_hidden_layers"],
    "mamba2": ["hidden_size", "num_hidden_layers", "num_heads", "head_dim", "state_size"],
}  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "key"), [(name, key) for name in SIZES for key in SIZES[name]])
@pytest.mark.parametrize("size", [LARGE, LARGE - 1, 10**12, 10**400])
def test_sizes_that_the_tensors_do_not_have_are_refused(folders, tmp_path, name, key, size):
    path = tmp_path / "a"
    changed(folders[name], path, "config.json", lambda values: {**values, key: size})
    with pytest.raises((CheckpointError, ConfigError)):
        load_completer(path)


@pytest.mark.parametrize(
    ("name", "key", "value", "reason"),
    [
        ("config.json", "rope_parameters", "x", "rope_parameters is 'x': .* valid dict"),
        (
            "config.json",
            "rope_parameters",
            {"rope_type": []},
            r"rope_type is \[\]: .* valid string",
        ),
        ("config.json", "model_type", {}, "model_type is {}: .* valid string"),
        ("config.json", "hidden_act", [], r"hidden_act is \[\]: .* valid string"),
        ("config.json", "tie_word_embeddings", "no", "tie_word_embeddings is 'no'"),
        ("config.json", "bos_token_id", "x", "bos_token_id is 'x'"),
        ("tokenizer_config.json", "bos_token", 5, "bos_token is 5: .* valid string"),
        ("tokenizer_config.json", "eos_token", {"x": 1}, "eos_token is None: .* valid string"),
        ("generation_config.json", "eos_token_id", "x", "eos_token_id is 'x'"),
        ("generation_config.json", "eos_token_id", 10**9, "its eos token is 1000000000"),
    ],
)
def test_settings_of_another_type_are_named(folders, tmp_path, name, key, value, reason):
    path = changed(folders["llama"], tmp_path / "a", name, lambda values: {**values, key: value})
    if isinstance(value, int) and name == "generation_config.json":
        # Only where no token is named is the number asked for.
        changed(path, tmp_path / "b", "tokenizer_config.json", lambda values: {})
        path = tmp_path / "b"
    with pytest.raises((CheckpointError, ConfigError), match=reason):
        load_completer(path)


def test_a_template_of_tokens_that_are_not_there_is_damaged(folders, tmp_path):
    def change(values):
        assert values["post_processor"]["special_tokens"]
        return {**values, "post_processor": {**values["post_processor"], "special_tokens": {}}}

    path = changed(folders["llama"], tmp_path / "a", "tokenizer.json", change)
    with pytest.raises(CheckpointError, match="the tokenizer cannot be read: no entry"):
        load_completer(path)


def test_an_index_of_weights_names_files(folders, tmp_path):
    shutil.copytree(folders["llama"], tmp_path / "a")
    index = tmp_path / "a" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": ["x"]}}))
    with pytest.raises(ConfigError, match=r"weight_map\.a is \['x'\]"):
        load_completer(tmp_path / "a")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(folders, tmp_path, value):
    shutil.copytree(folders["llama"], tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.feed_forward\.up\.weight' holds NaN or"):
        load_completer(tmp_path / "a")


def test_weights_whose_sum_alone_is_infinite_are_taken(folders, tmp_path):
    shutil.copytree(folders["llama"], tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][:2, 0] = 3e38
    save_file(tensors, path)
    load_completer(tmp_path / "a")


@pytest.mark.parametrize(
    "options",
    [{}, {"beams": 2}, {"sampling": SamplingParameters()}, {"penalty_alpha": 0.5}],
    ids=["greedy", "beams", "sampling", "contrastive"],
)
def test_logits_that_are_not_numbers_end_every_search(llama, tokenizer, options):
    spoilt = copy.deepcopy(llama)
    spoilt.decoder.norm.weight.data[-1] = math.nan
    completer = Completer(spoilt, tokenizer)
    with pytest.raises(NumericsError, match="not numbers"):
        completer.complete(["A cute"], max_tokens=3, **options)
    with pytest.raises(NumericsError, match="not a number"):
        window_likelihood(spoilt, tokenizer, TEXTS[0], 16)


def test_a_perplexity_too_large_for_a_number_is_null():
    found = TextLikelihood(1000.0, 3, math.inf, 9.0).as_json()
    assert found == {"nll": 1000.0, "tokens": 3, "perplexity": None, "bits_per_byte": 9.0}


anything = st.recursive(
    st.one_of(st.none(), plain, st.sampled_from([2**31, 2**63, 10**30])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def paths_in(value, depth=4):
    """Ways to all that is in some JSON, but for what is in the middle of long lists."""
    found = []
    if depth:
        keys = list(value) if isinstance(value, dict) else []
        keys = range(len(value)) if isinstance(value, list) else keys
        for key in [*keys[:40], *keys[40:][-1:]]:
            found += [(key,), *((key, *rest) for rest in paths_in(value[key], depth - 1))]
    return found


def mutated(values, data):
    """Some values are others, or are gone."""
    values = copy.deepcopy(values)
    for _ in range(data.draw(st.integers(1, 2))):
        paths = paths_in(values)
        if not paths:
            break
        *way, last = data.draw(st.sampled_from(paths))
        inside = values
        for key in way:
            inside = inside[key]
        if data.draw(st.integers(0, 3)):
            inside[last] = data.draw(anything)
        else:
            del inside[last]
    return values


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", sorted(MODELS))
@fuzzed
@given(data=st.data())
def test_mutated_folders_give_one_clear_error(folders, tmp_path, model, data):
    name = data.draw(st.sampled_from(JSON_FILES))
    path = tmp_path / "a"
    changed(folders[model], path, name, lambda values: mutated(values, data))
    refused(path)


def test_what_is_not_mutated_goes_all_the_way(folders):
    for folder in folders.values():
        go_all_the_way(folder)

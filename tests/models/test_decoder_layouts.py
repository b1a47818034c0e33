"""Decoders against `transformers`, from theirs to ours and back, on tiny random models."""

import pytest
import torch
import transformers

from peluche.errors import CheckpointError, ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_layouts import read_decoder, write_decoder
from peluche.models.decoder_tables import LAYOUTS
from peluche.models.layouts import read_entries

VOCABULARY = 43
SIZES = {
    "hidden_size": 24,
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
GPT2 = {"n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}
CASES = {
    "gpt2": ("GPT2", GPT2),
    "gpt2, relu": ("GPT2", {**GPT2, "activation_function": "relu", "n_inner": 40}),
    "starcoder2": ("Starcoder2", SIZES),
    "starcoder2, plain": (
        "Starcoder2",
        {**SIZES, "hidden_act": "gelu", "num_key_value_heads": 4, "head_dim": 10,
         "sliding_window": 5, "tie_word_embeddings": False, "rope_parameters": LLAMA3},
    ),
    "llama": ("Llama", SIZES),
    "llama, tied": ("Llama", {**SIZES, "tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "llama, biased": ("Llama", {**SIZES, "attention_bias": True, "mlp_bias": True}),
    "llama, wide heads": ("Llama", {**SIZES, "head_dim": 10}),
    "llama, linear": ("Llama", {**SIZES, "rope_parameters": LINEAR}),
    "llama, yarn": ("Llama", {**SIZES, "rope_parameters": YARN}),
    "llama, llama3": ("Llama", {**SIZES, "rope_parameters": LLAMA3}),
    "mistral": ("Mistral", {**SIZES, "sliding_window": 5}),
    "qwen2": ("Qwen2", SIZES),
    "qwen3": ("Qwen3", {**SIZES, "head_dim": 8}),
    "mixtral": ("Mixtral", {**SIZES, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gemma2": ("Gemma2", {**SIZES, "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 9}),
    "gemma3": (
        "Gemma3",
        {**SIZES, "num_hidden_layers": 4, "head_dim": 8, "sliding_window": 5, "layer_types": [
            "sliding_attention", "full_attention"] * 2},
    ),
}  # fmt: skip


def theirs_of(case):
    name, values = CASES[case]
    text = "Text" if name == "Gemma3" else ""
    config = getattr(transformers, f"{name}{text}Config")(vocab_size=VOCABULARY, **values)
    # The plain formula: kernels differ by more than the tolerance.
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    head = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    model = getattr(transformers, f"{name}{head}")(config).eval()
    for parameter in model.parameters():  # norms and biases too, which start at 0 and 1
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def saved(model, tmp_path):
    """config.json and weights as they are written to a folder."""
    import json

    from safetensors.torch import load_file

    model.save_pretrained(tmp_path)
    return json.loads((tmp_path / "config.json").read_text()), load_file(
        tmp_path / "model.safetensors"
    )


def ours_of(model, tmp_path):
    values, tensors = saved(model, tmp_path)
    config, entries = read_decoder(values, tensors, "here")
    built = config.build(VOCABULARY).eval()
    built.load_state_dict(read_entries(entries, tensors, "here"))
    return built


TOKENS = torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits_of(ours):
    return ours.logits(ours.hidden(TOKENS))


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_logits_are_theirs_both_ways(case, tmp_path):
    theirs = theirs_of(case)
    expected = theirs(TOKENS).logits
    ours = ours_of(theirs, tmp_path)
    torch.testing.assert_close(logits_of(ours), expected, atol=1e-5, rtol=1e-5)

    layout, config, tensors = write_decoder(ours.config, ours.state_dict(), VOCABULARY)
    assert layout.model_type == theirs.config.model_type
    again = type(theirs.config).from_dict(config)
    again._attn_implementation = "eager"
    rebuilt = type(theirs)(again).eval()
    loaded = (
        type(theirs)
        .from_pretrained(None, config=again, state_dict=tensors, attn_implementation="eager")
        .eval()
    )
    assert sum(p.numel() for p in rebuilt.parameters()) == sum(
        p.numel() for p in loaded.parameters()
    )
    torch.testing.assert_close(loaded(TOKENS).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["llama", "mistral", "qwen3", "mixtral", "gemma2", "gemma3"])
@torch.no_grad()
def test_what_is_cached_changes_nothing(case, tmp_path):
    """Read at once, in two pieces, and token by token."""
    ours = ours_of(theirs_of(case), tmp_path)
    expected = logits_of(ours)
    for cuts in ([40], [17, 40], list(range(1, 41))):
        state, start, found = ours.start_state(2, 40), 0, []
        for end in cuts:
            positions = torch.arange(start, end)
            found.append(ours.hidden(TOKENS[:, start:end], positions=positions, state=state))
            start = end
        torch.testing.assert_close(ours.logits(torch.cat(found, 1)), expected, atol=1e-5, rtol=1e-5)


def test_a_missing_tensor_is_named(tmp_path):
    config, tensors = saved(theirs_of("llama"), tmp_path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    _, entries = read_decoder(config, tensors, "here")
    with pytest.raises(CheckpointError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        read_entries(entries, tensors, "here")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "gpt2", **GPT2, "scale_attn_by_inverse_layer_idx": True}, "scale_attn"),
        ({"model_type": "llama", **SIZES, "attention_bias": True}, "mlp_bias differ"),
        ({"model_type": "llama", **SIZES, "hidden_act": "tanh"}, "hidden_act is 'tanh'"),
        ({"model_type": "starcoder2", **SIZES, "use_bias": False}, "use_bias"),
        ({"model_type": "llama", **SIZES, "rope_parameters": {"rope_type": "odd"}}, "'odd'"),
        ({"model_type": "qwen2", **SIZES, "use_sliding_window": True}, "use_sliding_window"),
    ],
)
def test_what_has_no_equal_is_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        read_decoder({"hidden_act": "silu", "rms_norm_eps": 1e-6, **values}, (), "here")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"activation": "relu2", "positions": "learned"}, "model.activation=relu2"),
        ({"positions": "alibi"}, "model.positions=alibi"),
        ({"norm": "rmsnorm", "activation": "swiglu", "norm_placement": "post"}, "norm_placement"),
    ],
)
def test_what_no_layout_expresses_is_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        write_decoder(DecoderConfig.parse(values), {}, VOCABULARY)


SMALL = {"d_model": 24, "layers": 2, "heads": 4, "d_ff": 40, "dropout": 0.0}
SQUARED = {**SMALL, "norm": "rmsnorm", "activation": "relu2", "bias": False}


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("LlamaForCausalLM", {"kv_heads": 2, "bias": True}),
        ("MistralForCausalLM", {"window": {"size": 5}}),
        ("Qwen3ForCausalLM", {"qk_norm": True}),
    ],
)
@torch.no_grad()
def test_a_square_is_written_as_a_gated_layer(architecture, changes):
    """relu(x)² is relu(x) · x: gate and up are the same matrix; and back."""
    torch.manual_seed(0)
    config = DecoderConfig.parse({**SQUARED, **changes})
    ours = config.build(VOCABULARY).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layout, written, tensors = write_decoder(config, ours.state_dict(), VOCABULARY)
    assert (layout.architecture, written["hidden_act"]) == (architecture, "relu")
    theirs = getattr(transformers, architecture).from_pretrained(
        None,
        config=transformers.AutoConfig.for_model(**written),
        state_dict=tensors,
        attn_implementation="eager",
    )
    expected = logits_of(ours)
    torch.testing.assert_close(theirs.eval()(TOKENS).logits, expected, atol=1e-5, rtol=1e-5)
    read, entries = read_decoder(written, tensors, "here")
    assert read.activation == "relu2"
    state = read_entries(entries, tensors, "here")
    again = read.build(VOCABULARY).eval()
    again.load_state_dict(state)
    torch.testing.assert_close(logits_of(again), expected, atol=0, rtol=0)
    tensors["model.layers.1.mlp.gate_proj.weight"] += 1
    with pytest.raises(ConfigError, match="gate and up differ"):
        read_entries(entries, tensors, "here")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"window": {"size": 5, "global_every": 2}}, "global_every"),
        ({"window": {"size": 5, "rope": {"base": 500.0}}}, "rope"),
        (
            {"norm_placement": "sandwich", "scale_embeddings": True, "window":
             {"size": 5, "global_every": 2, "rope": {"base": 500.0}}},
            "rope",
        ),
        ({"experts": {"count": 4}}, r"model\.experts"),
    ],
)  # fmt: skip
def test_what_layers_differ_in_is_not_lost(values, reason):
    config = DecoderConfig.parse({**SQUARED, **values})
    with pytest.raises(ConfigError, match=reason):
        write_decoder(config, config.build(VOCABULARY).state_dict(), VOCABULARY)


def test_every_layout_is_tested():
    tested = {theirs.lower().replace("gemma3", "gemma3_text") for theirs, _ in CASES.values()}
    assert tested == {layout.model_type for layout in LAYOUTS}

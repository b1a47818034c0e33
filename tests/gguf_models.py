"""Small random GGUF files of every architecture that is read."""

import torch

from peluche.hub.gguf import write_gguf
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_gguf import Form, gguf_entries
from peluche.models.layouts import write_entries

LENGTH = 256
SIZES = {"d_model": 32, "layers": 3, "heads": 4, "kv_heads": 2, "d_ff": 64, "dropout": 0.0}
RMS = {**SIZES, "max_length": LENGTH, "activation": "swiglu", "norm": "rmsnorm", "bias": False}
GEMMA = {**RMS, "activation": "geglu_tanh", "scale_embeddings": True, "head_width": 16}
SANDWICH = {**GEMMA, "norm_placement": "sandwich", "attention_softcap": 1.0, "logit_softcap": 9.0}
LAYERNORM = {**SIZES, "max_length": LENGTH, "activation": "gelu_tanh", "norm": "layernorm"}
ALTERNATING = {"size": 4, "global_every": 2}
GEMMA3 = {
    **GEMMA, "norm_placement": "sandwich", "qk_norm": True, "layers": 7,
    "window": {"size": 4, "global_every": 6, "rope": {"base": 1e4}}, "rope": {"base": 1e6},
}  # fmt: skip
# Of models with so many layers.
SCALE_OF_27B = {"attention_scale": 8**-0.5}
EXPERTS = {"count": 4, "active": 2}
FORMS = {
    "llama": Form(paired=True),
    "phi3": Form(fused=True, joined=True),
    "gpt2": Form(fused=True),
}
"""Those that are not plain."""


def rope(base=10_000.0, **scaling):
    return {"rope": {"base": base, "scaling": scaling or None}}


CASES = {
    "llama": ("llama", RMS),
    "llama, untied": ("llama", {**RMS, "tie_embeddings": False}),
    "llama, biases": ("llama", {**RMS, "bias": True}),
    "llama, biases of some": ("llama", {**RMS, "qkv_bias": True}),
    "llama, linear": ("llama", {**RMS, **rope(kind="linear", factor=3.0)}),
    "llama, yarn": ("llama", {**RMS, **rope(kind="yarn", factor=4.0, original_length=64)}),
    "llama 3": ("llama", {**RMS, **rope(5e5, kind="llama3", factor=8.0, original_length=8192)}),
    "mixtral": ("llama", {**RMS, "experts": EXPERTS}),
    "qwen2": ("qwen2", {**RMS, "qkv_bias": True}),
    "qwen3": ("qwen3", {**RMS, "qk_norm": True, "head_width": 16}),
    "qwen3moe": ("qwen3moe", {**RMS, "qk_norm": True, "experts": {**EXPERTS, "d_ff": 32}}),
    "phi3": ("phi3", {**RMS, "tie_embeddings": False}),
    "gemma": ("gemma", GEMMA),
    "gemma2": ("gemma2", {**SANDWICH, "window": ALTERNATING}),
    "gemma2, 27B": ("gemma2", {**SANDWICH, "window": ALTERNATING, "layers": 46} | SCALE_OF_27B),
    "gemma3": ("gemma3", GEMMA3),
    "gemma3, 27B": ("gemma3", {**GEMMA3, "layers": 62} | SCALE_OF_27B),
    "gpt2": ("gpt2", {**LAYERNORM, "positions": "learned", "kv_heads": None}),
    "starcoder2": ("starcoder2", LAYERNORM),
}  # fmt: skip


def write(path, case, vocabulary, **more):
    """A file of one of the cases; the model in it.

    Args:
        vocabulary: the metadata of a tokenizer.
        more: metadata that replace others; those that are None are left out.
    """
    name, values = CASES[case]
    config = DecoderConfig.parse(values)
    torch.manual_seed(0)
    model = config.build(len(vocabulary["tokenizer.ggml.tokens"])).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    entries = gguf_entries(config, FORMS.get(name, Form()))
    tensors = write_entries(entries, model.state_dict())
    scaling = config.rope.scaling
    if scaling is not None and scaling.kind == "llama3":
        width = config.width_of_heads
        plain = config.rope.base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        tensors["rope_freqs.weight"] = (plain / scaling.stretch(plain, config.rope.base)).float()
    metadata = {"general.architecture": name, **vocabulary}
    metadata |= {f"{name}.{key}": value for key, value in settings(config).items()} | more
    metadata = {key: value for key, value in metadata.items() if value is not None}
    arrays = {key: tensor.detach().numpy() for key, tensor in tensors.items()}
    write_gguf(path, metadata, arrays, "F32")
    return model


def settings(config):
    window, scaling, experts = config.window, config.rope.scaling, config.experts
    found = {
        "block_count": config.layers,
        "context_length": config.max_length,
        "embedding_length": config.d_model,
        "feed_forward_length": config.d_ff,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads or config.heads,
        "attention.key_length": config.width_of_heads,
        "attention.value_length": config.width_of_heads,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.layer_norm_epsilon": 1e-5,
        "rope.freq_base": config.rope.base,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logit_softcap,
        "attention.sliding_window": window and window.size,
    }
    if experts is not None:
        found |= {"expert_count": experts.count, "expert_used_count": experts.active}
        found["expert_feed_forward_length"] = experts.d_ff
    if scaling is not None and scaling.kind != "llama3":
        found |= {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
        if scaling.kind == "yarn":
            found["rope.scaling.original_context_length"] = scaling.original_length
    return found


def pieces(*more):
    """The metadata of a vocabulary as SentencePiece has it, made by hand: letters and some words.

    Args:
        more: pieces with scores and types, such as ("the", -3.0, 1).
    """
    letters = "abcdefghijklmnopqrstuvwxyz.,ABCDE\u2581"
    merged = ["th", "the", "\u2581the", "\u2581a", "ea", "bea", "bear", "\u2581bear", "in", "ing"]
    found = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    found += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    found += [(piece, -1.0 - number, 1) for number, piece in enumerate([*merged, *letters])]
    names = ("tokens", "scores", "token_type")
    columns = zip(*found, *more, strict=True)
    return {
        "tokenizer.ggml.model": "llama",
        **{
            f"tokenizer.ggml.{name}": list(column)
            for name, column in zip(names, columns, strict=True)
        },
    }

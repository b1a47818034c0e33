"""Where a decoder's settings and parameters live in the folders of `transformers`.

GPT-2 has names of its own. All others are variations of Llama's, so that one table serves them, and
a layout says in what it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from peluche.models import gpt2_layouts as gpt2
from peluche.models import layouts
from peluche.models import llama_layouts as llama
from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import TIED, Entry
from peluche.models.transformer import PLAIN

EMBEDDING, HEAD = "decoder.embedding.weight", "head.weight"
Values = dict[str, Any]


class DecoderLayout(NamedTuple):
    """A model class of `transformers` whose arithmetic ours can equal.

    Attributes:
        model_type, architecture: what config.json calls it.
        can: the values of our settings that it can express; settings not named are free.
        read: our settings from its config.json.
        write: config.json from our settings.
        entries: the table of parameters, without those of the embedding and the head.
        names: of the embedding and the head.
    """

    model_type: str
    architecture: str
    can: Mapping[str, tuple[object, ...]]
    read: Callable[[Mapping[str, Any]], Values]
    write: Callable[[DecoderConfig], Values]
    entries: Callable[[DecoderConfig], list[Entry]]
    names: tuple[str, str] = ("model.embed_tokens.weight", "lm_head.weight")


_RMS = {
    **PLAIN,
    "head_width": (),
    "norm_epsilon": (),
    "norm": ("rmsnorm",),
    "norm_placement": ("pre",),
    "activation": ("swiglu", "geglu", "geglu_tanh"),
    "positions": ("rope",),
    "scale_embeddings": (None, False),
    "logit_softcap": (None,),
    "mup": (None,),
}
"""What Llama can express; an empty tuple stands for any value."""
_NO_BIAS = {"bias": (False,)}
_WINDOWS = {"window": ()}
_GEMMA = {
    **_NO_BIAS,
    **_WINDOWS,
    "norm_placement": ("sandwich",),
    "scale_embeddings": (True,),
    "attention_scale": (),
    "attention_softcap": (),
    "logit_softcap": (),
}


def _free(can: Mapping[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {key: values for key, values in can.items() if values}


LAYOUTS = (
    DecoderLayout(
        "gpt2",
        "GPT2LMHeadModel",
        _free(
            {
                **PLAIN,
                "norm_epsilon": (),
                "kv_heads": (None,),
                "norm": ("layernorm",),
                "norm_placement": ("pre",),
                "activation": tuple(gpt2.GPT2_ACTIVATIONS.values()),
                "positions": ("learned",),
                "scale_embeddings": (None, False),
                "logit_softcap": (None,),
                "mup": (None,),
                "bias": (True,),
            }
        ),
        gpt2.read_gpt2,
        gpt2.write_gpt2,
        gpt2.gpt2_entries,
        ("transformer.wte.weight", "lm_head.weight"),
    ),
    DecoderLayout(
        "llama",
        "LlamaForCausalLM",
        _free(_RMS),
        llama.read_llama,
        llama.write_llama,
        llama.llama_entries,
    ),
    DecoderLayout(
        "mistral",
        "MistralForCausalLM",
        _free({**_RMS, **_NO_BIAS, **_WINDOWS}),
        llama.read_mistral,
        llama.write_mistral,
        llama.llama_entries,
    ),
    DecoderLayout(
        "qwen2",
        "Qwen2ForCausalLM",
        _free({**_RMS, **_NO_BIAS, "qkv_bias": (True,)}),
        llama.read_qwen2,
        llama.write_qwen,
        llama.llama_entries,
    ),
    DecoderLayout(
        "qwen3",
        "Qwen3ForCausalLM",
        _free({**_RMS, **_NO_BIAS, "qk_norm": (True,)}),
        llama.read_qwen3,
        llama.write_qwen,
        llama.llama_entries,
    ),
    DecoderLayout(
        "mixtral",
        "MixtralForCausalLM",
        _free({**_RMS, **_NO_BIAS, **_WINDOWS, "experts": ()}),
        llama.read_mixtral,
        llama.write_mixtral,
        llama.llama_entries,
    ),
    DecoderLayout(
        "gemma2",
        "Gemma2ForCausalLM",
        _free({**_RMS, **_GEMMA}),
        llama.read_gemma2,
        llama.write_gemma2,
        llama.llama_entries,
    ),
    DecoderLayout(
        "gemma3_text",
        "Gemma3ForCausalLM",
        _free({**_RMS, **_GEMMA, "qk_norm": (True,)}),
        llama.read_gemma3,
        llama.write_gemma3,
        llama.llama_entries,
    ),
)


def read_decoder(
    theirs: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[DecoderConfig, list[Entry]]:
    """Our config of a model of `transformers`, and which parameters are which.

    Args:
        theirs: its config.json.
        names: of its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: it is of another type, or ours cannot equal it.
        KeyError: a setting is missing.
    """
    layout = next(one for one in LAYOUTS if one.model_type == theirs.get("model_type"))
    # A head that is there and is no embedding was trained apart, whatever the config says.
    tied = bool(theirs.get("tie_word_embeddings", layout.model_type in ("gpt2", "gemma2")))
    values = {**layout.read(theirs), "tie_embeddings": tied}
    config = DecoderConfig.parse(values, where=str(where))
    experts = config.experts.count if config.experts else 0
    layouts.require_held(names, where, layers=config.layers, experts=experts)
    return config, _all_entries(layout, config)


def write_decoder(
    config: DecoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[DecoderLayout, Values, dict[str, Tensor]]:
    """The layout that expresses a model, its config.json, and its weights.

    Raises:
        ConfigError: no layout expresses the model.
    """
    layout = layouts.find_layout(config, LAYOUTS, hidden=PLAIN)
    written = {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        "vocab_size": vocabulary,
        "tie_word_embeddings": config.tie_embeddings,
        **layout.write(config),
        "dtype": "float32",
    }
    return layout, written, layouts.write_entries(_all_entries(layout, config), state)


def _all_entries(layout: DecoderLayout, config: DecoderConfig) -> list[Entry]:
    embedding, head = layout.names
    if config.tie_embeddings:
        return [Entry((EMBEDDING, HEAD), (embedding,), TIED), *layout.entries(config)]
    ends = Entry((EMBEDDING,), (embedding,)), Entry((HEAD,), (head,))
    return [ends[0], *layout.entries(config), ends[1]]

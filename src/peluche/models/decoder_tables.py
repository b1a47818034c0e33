"""Which decoders of `transformers` can equal ours, and in what they differ.

GPT-2 and StarCoder2 have names of their own. All others are variations of Llama's, so that one
table of parameters serves them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from peluche.models import gemma_layouts as gemma
from peluche.models import gpt2_layouts as gpt2
from peluche.models import llama_layouts as llama
from peluche.models import starcoder2_layouts as starcoder2
from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import Entry
from peluche.models.transformer import PLAIN
from peluche.nn.feedforward import GATED

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
    "activation": tuple(llama.LLAMA_ACTIVATIONS.values()),
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
        "starcoder2",
        "Starcoder2ForCausalLM",
        _free(
            {
                **_RMS,
                **_WINDOWS,
                "norm": ("layernorm",),
                "activation": tuple(starcoder2.ACTIVATIONS.values()),
                "bias": (True,),
            }
        ),
        starcoder2.read_starcoder2,
        starcoder2.write_starcoder2,
        starcoder2.starcoder2_entries,
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
        _free({**_RMS, **_NO_BIAS, **_WINDOWS, "experts": (), "activation": GATED}),
        llama.read_mixtral,
        llama.write_mixtral,
        llama.llama_entries,
    ),
    DecoderLayout(
        "gemma2",
        "Gemma2ForCausalLM",
        _free({**_RMS, **_GEMMA}),
        gemma.read_gemma2,
        gemma.write_gemma2,
        llama.llama_entries,
    ),
    DecoderLayout(
        "gemma3_text",
        "Gemma3ForCausalLM",
        _free({**_RMS, **_GEMMA, "qk_norm": (True,)}),
        gemma.read_gemma3,
        gemma.write_gemma3,
        llama.llama_entries,
    ),
)

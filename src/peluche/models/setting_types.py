"""Of what type the settings are that are read from the files of other libraries."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

# Sizes whose product a tensor can still have.
SIZE = Annotated[int, Field(lt=1 << 31)]
# Of a token.
INDEX = Annotated[int, Field(ge=0, lt=1 << 31)]
LENGTH = Annotated[int, Field(lt=1 << 63)]
NUMBER = Annotated[float, Field(allow_inf_nan=False)]
POSITIVE = Annotated[float, Field(gt=0, allow_inf_nan=False)]


_TURNING: dict[str, Any] = {
    **dict.fromkeys(("rope_type", "type"), str),
    **dict.fromkeys(("rope_theta", "partial_rotary_factor", "factor"), NUMBER),
    **dict.fromkeys(("beta_fast", "beta_slow", "attention_factor"), NUMBER),
    **dict.fromkeys(("low_freq_factor", "high_freq_factor"), NUMBER),
    "original_max_position_embeddings": LENGTH,
}
# Of all layers, or of each kind of layer.
_ROPE = {**_TURNING, "full_attention": _TURNING, "sliding_attention": _TURNING}
_TEXTS = (
    "model_type hidden_act hidden_activation activation_function feed_forward_proj "
    "position_embedding_type"
)
_SIZES = (
    "hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim "
    "intermediate_size sliding_window _sliding_window_pattern sliding_window_pattern "
    "num_local_experts num_experts_per_tok n_embd n_layer n_head n_inner d_model d_kv d_ff "
    "num_layers num_decoder_layers num_heads relative_attention_num_buckets "
    "relative_attention_max_distance state_size n_groups conv_kernel chunk_size type_vocab_size "
    "encoder_layers decoder_layers encoder_attention_heads decoder_attention_heads encoder_ffn_dim "
    "decoder_ffn_dim"
)
_NUMBERS = (
    "rms_norm_eps norm_epsilon layer_norm_epsilon layer_norm_eps rope_theta rope_local_base_freq "
    "attention_dropout hidden_dropout_prob attention_probs_dropout_prob dropout dropout_rate "
    "activation_dropout residual_dropout resid_pdrop attn_pdrop router_aux_loss_coef "
    "attn_logit_softcapping final_logit_softcapping"
)
_SWITCHES = (
    "tie_word_embeddings mlp_bias attention_bias use_sliding_window use_bias use_conv_bias "
    "scale_attn_weights scale_attn_by_inverse_layer_idx add_cross_attention scale_embedding "
    "share_encoder_decoder_embeddings"
)
CONFIG: dict[str, Any] = {
    **dict.fromkeys(_TEXTS.split(), str),
    **dict.fromkeys(_SIZES.split(), SIZE),
    **dict.fromkeys(_NUMBERS.split(), NUMBER),
    **dict.fromkeys(_SWITCHES.split(), bool),
    "max_position_embeddings": LENGTH,
    "n_positions": LENGTH,
    "query_pre_attn_scalar": POSITIVE,
    "rope_parameters": _ROPE,
    "rope_scaling": _ROPE,
    "layer_types": list[str],
    "time_step_limit": list[Any],
}
"""See `peluche.config.typed`."""

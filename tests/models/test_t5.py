"""Encoder-decoders against `transformers`' T5, both ways."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from peluche.errors import ConfigError
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.layouts import read_entries
from peluche.models.t5_layouts import read_t5, write_t5

V = 41
SIZES = {
    "vocab_size": V,
    "d_model": 24,
    "d_kv": 5,
    "d_ff": 36,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
SOURCE, TARGET = torch.randint(1, V, (2, 3, 30), generator=torch.Generator().manual_seed(1))
VALID = torch.arange(30) < torch.tensor([30, 21, 4])[:, None]


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
@torch.no_grad()
def test_logits_are_theirs_both_ways(tmp_path, kind):
    config = transformers.T5Config(**SIZES, feed_forward_proj=kind)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    read = json.loads((tmp_path / "config.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    found, entries = read_t5(read, tensors, tmp_path)
    ours = found.build(V).eval()
    ours.load_state_dict(read_entries(entries, tensors, tmp_path))

    def logits(model):
        mask = VALID.long()
        return model(SOURCE, attention_mask=mask, decoder_input_ids=TARGET).logits

    expected = logits(theirs)
    memory = ours.encode(SOURCE, VALID)
    mine = ours.logits(ours.hidden(TARGET, condition=memory))
    torch.testing.assert_close(mine, expected, atol=2e-5, rtol=1e-5)

    written, tensors = write_t5(found, ours.state_dict(), V)
    again = transformers.T5ForConditionalGeneration.from_pretrained(
        None,
        config=transformers.T5Config.from_dict(written),
        state_dict=tensors,
        attn_implementation="eager",
    )
    torch.testing.assert_close(logits(again.eval()), expected, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_head_of_its_own_is_read_as_it_is():
    """As T5 1.1 has it: neither tied nor scaled."""
    torch.manual_seed(0)
    theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZES)).eval()
    head = torch.randn(V, SIZES["d_model"])
    values = {**theirs.config.to_dict(), "tie_word_embeddings": False}
    tensors = {**theirs.state_dict(), "lm_head.weight": head}
    found, entries = read_t5(values, tensors, "here")
    ours = found.build(V).eval()
    ours.load_state_dict(read_entries(entries, tensors, "here"))
    read = {"attention_mask": VALID.long(), "decoder_input_ids": TARGET}
    hidden = theirs(SOURCE, **read, output_hidden_states=True).decoder_hidden_states[-1]
    mine = ours.hidden(TARGET, condition=ours.encode(SOURCE, VALID))
    torch.testing.assert_close(ours.logits(mine), hidden @ head.t(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cached_is_uncached():
    torch.manual_seed(0)
    values = {
        "d_model": 16, "layers": 2, "heads": 2, "head_width": 5, "d_ff": 32, "dropout": 0.0,
        "positions": "relative", "attention_scale": 1.0, "norm": "rmsnorm", "bias": False,
        "tie_embeddings": "inputs",
    }  # fmt: skip
    model = EncoderDecoderConfig.parse(values).build(V).eval()
    memory = model.project_memory(model.encode(SOURCE, VALID))
    whole = model.hidden(TARGET, condition=memory)
    state = model.start_state(memory, 1, 30)
    read = [
        model.hidden(
            TARGET[:, i : i + 1], condition=memory, positions=torch.tensor([i]), state=state
        )
        for i in range(30)
    ]
    torch.testing.assert_close(torch.cat(read, 1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "relu2", "swiglu"])
@torch.no_grad()
def test_scores_that_are_scaled_are_written(activation):
    """T5 does not scale scores: a scale goes into the matrices of queries."""
    torch.manual_seed(0)
    values = {
        "d_model": 24, "layers": 2, "decoder_layers": 1, "heads": 4, "d_ff": 36, "norm": "rmsnorm",
        "positions": "relative", "bias": False, "activation": activation,
    }  # fmt: skip
    ours = EncoderDecoderConfig.parse(values).build(V).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    written, tensors = write_t5(ours.config, ours.state_dict(), V)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(
        None,
        config=transformers.T5Config.from_dict(written),
        state_dict=tensors,
        attn_implementation="eager",
    ).eval()
    found = theirs(SOURCE, attention_mask=VALID.long(), decoder_input_ids=TARGET).logits
    expected = ours.logits(ours.hidden(TARGET, condition=ours.encode(SOURCE, VALID)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    config, entries = read_t5(written, tensors, "here")
    state = read_entries(entries, tensors, "here")
    again = config.build(V).eval()
    again.load_state_dict(state)
    mine = again.logits(again.hidden(TARGET, condition=again.encode(SOURCE, VALID)))
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)


def test_what_has_no_equal_is_refused():
    values = {**transformers.T5Config().to_dict(), "relative_attention_num_buckets": 16}
    with pytest.raises(ConfigError, match="16 buckets"):
        read_t5(values, (), "here")
    with pytest.raises(ConfigError, match=r"model\.positions=sinusoidal"):
        write_t5(EncoderDecoderConfig(), {}, V)

"""What is shown is what the model computes when nobody looks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from explain_models import SENTENCE, SHORT, make_model, make_tokenizer
from torch.nn import functional as F

from peluche.errors import DataError
from peluche.generation.decoder import ModelDecoder
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.blocks import Block
from peluche.reporting.explain import explain
from peluche.reporting.page import render_page
from peluche.reporting.words import MAX_TOKENS
from peluche.tasks.translate import Translator

VARIANTS = [
    {},
    {"positions": "rope", "kv_heads": 2},
    {"positions": "alibi", "norm_placement": "post"},
    {"positions": "relative", "kv_heads": 1, "tie_embeddings": "none"},
    {"positions": "learned", "norm": "rmsnorm", "norm_placement": "sandwich", "bias": False},
    {"positions": "none", "decoder_layers": 1, "activation": "swiglu"},
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda changes: "-".join(map(str, changes)))
def explained(request):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), **request.param)
    if request.param.get("positions") == "relative":
        for stack in (model.encoder, model.decoder):
            torch.nn.init.normal_(stack.bias.weight)
    return model, tokenizer, explain(model, tokenizer, SENTENCE, decoding=SHORT)


def fused_pass(model, explanation):
    """Outputs of every attention layer and block, by name, and the logits: nothing is traced."""
    outputs = {}
    hooks = [
        module.register_forward_hook(
            lambda _, __, output, name=name: outputs.__setitem__(name, output[0])
        )
        for name, module in model.named_modules()
        if isinstance(module, Block)
    ]
    mixers = [
        module.out.register_forward_hook(
            lambda _, __, output, name=name: outputs.__setitem__(name, output[0])
        )
        for name, module in model.named_modules()
        if isinstance(module, MultiHeadAttention)
    ]
    source = torch.tensor([[token.id for token in explanation.source.tokens]])
    target = torch.tensor([[token.id for token in explanation.decoder.tokens]])
    with torch.no_grad():
        memory = model.encode(source, torch.ones_like(source, dtype=torch.bool))
        logits = model.logits(model.hidden(target, condition=memory))[0]
    for hook in hooks + mixers:
        hook.remove()
    return outputs, memory.hidden[0], logits


def all_heads(explanation):
    """(name of the module, its heads, whether it is causal) for every attention layer."""
    for name in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(explanation, name).layers):
            path = f"{name}.blocks.{number}"
            yield f"{path}.self_attention", layer.self_attention, name == "decoder"
            if layer.cross_attention is not None:
                yield f"{path}.cross_attention", layer.cross_attention, False


def test_weights_times_values_give_the_fused_output(explained):
    model, _, explanation = explained
    outputs, _, _ = fused_pass(model, explanation)
    checked = 0
    for name, heads, _ in all_heads(explanation):
        mixed = torch.cat([torch.tensor(head.weights @ head.value) for head in heads], dim=-1)
        with torch.no_grad():
            recomputed = model.get_submodule(name).out(mixed)
        torch.testing.assert_close(recomputed, outputs[name], atol=1e-5, rtol=1e-5)
        checked += 1
    assert checked == model.config.layers + 2 * (model.config.decoder_layers or 2)


def test_each_stage_follows_from_the_one_before(explained):
    model, _, explanation = explained
    width = model.config.d_model // model.config.heads
    for _, heads, causal in all_heads(explanation):
        for head in heads:
            close = {"atol": 1e-5, "rtol": 1e-5}
            np.testing.assert_allclose(head.products, head.query @ head.key.T, **close)
            np.testing.assert_allclose(head.scores, head.products / math.sqrt(width), **close)
            scores = torch.tensor(head.scores if head.bias is None else head.scores + head.bias)
            if causal:
                scores = scores.masked_fill(~torch.ones_like(scores).tril().bool(), -torch.inf)
            np.testing.assert_allclose(head.weights, scores.softmax(-1).numpy(), **close)
            np.testing.assert_allclose(head.mixed, head.weights @ head.value, **close)
            query, key, value = (torch.tensor(m)[None] for m in (head.query, head.key, head.value))
            bias = None if head.bias is None else torch.tensor(head.bias)
            if causal:
                allowed = torch.ones(len(head.query), len(head.key)).tril().log()
                bias = allowed if bias is None else bias + allowed
            fused = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            np.testing.assert_allclose(head.mixed, fused[0].numpy(), **close)


def test_blocks_memory_and_probabilities_equal_the_fused_path(explained):
    model, _, explanation = explained
    outputs, memory, logits = fused_pass(model, explanation)
    close = {"atol": 1e-5, "rtol": 1e-5}
    for name in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(explanation, name).layers):
            np.testing.assert_allclose(
                layer.output, outputs[f"{name}.blocks.{number}"].numpy(), **close
            )
    np.testing.assert_allclose(explanation.encoder.output, memory.numpy(), **close)
    probabilities = logits.softmax(-1)
    for step, row in zip(explanation.steps, probabilities, strict=True):
        for candidate in (*step.candidates, step.chosen):
            assert candidate.probability == pytest.approx(float(row[candidate.id]), abs=1e-5)


def test_the_first_layer_reads_embedding_plus_position(explained):
    model, _, explanation = explained
    for name in ("encoder", "decoder"):
        stack = getattr(explanation, name)
        ids = torch.tensor([token.id for token in stack.tokens])
        rows = getattr(model, name).embedding.weight[ids].detach().numpy()
        np.testing.assert_allclose(stack.embedding, rows * 32**0.5, rtol=1e-6)
        positions = 0 if stack.positions is None else stack.positions
        np.testing.assert_allclose(stack.input, stack.embedding + positions, rtol=1e-6, atol=1e-6)
        assert (stack.positions is None) == (
            model.config.positions not in ("sinusoidal", "learned")
        )


def test_rotary_positions_show_how_far_they_turn(explained):
    model, _, explanation = explained
    for stack in (explanation.encoder, explanation.decoder):
        assert (stack.turns is not None) == (model.config.positions == "rope")
        if stack.turns is not None:
            width = model.config.d_model // model.config.heads
            pairs, places = np.arange(width // 2), np.arange(len(stack.tokens))
            angles = places[:, None] * 10000.0 ** (-2 * pairs / width)
            np.testing.assert_allclose(stack.turns, np.cos(angles), atol=1e-5)


def test_a_step_shows_what_step_by_step_decoding_computes(explained):
    model, _, explanation = explained
    source = torch.tensor([[token.id for token in explanation.source.tokens]])
    decoding = ModelDecoder(model).start(source, torch.ones_like(source).bool(), 1, 40)
    for step, token in zip(explanation.steps, explanation.decoder.tokens, strict=True):
        with torch.no_grad():
            row = decoding.step(torch.tensor([token.id]))[0].softmax(-1)
        decoding.select(torch.zeros(1, 1, dtype=torch.long))
        assert step.chosen.probability == pytest.approx(float(row[step.chosen.id]), abs=1e-5)


def test_the_translation_is_the_translators_with_its_score(explained):
    model, tokenizer, explanation = explained
    [found] = Translator(model, tokenizer, SHORT).translate_with_scores([SENTENCE])
    assert explanation.target.text == found.translation
    assert [token.id for token in explanation.target.tokens] == [*found.tokens, tokenizer.eos_id]
    total = explanation.steps[-1].log_probability
    assert total / len(explanation.steps) == pytest.approx(found.score, abs=1e-4)


def test_steps_are_ranked(explained):
    _, _, explanation = explained
    for step in explanation.steps:
        probabilities = [candidate.probability for candidate in step.candidates]
        assert probabilities == sorted(probabilities, reverse=True)
        if step.rank <= len(step.candidates):
            assert step.candidates[step.rank - 1].id == step.chosen.id
        else:
            assert step.chosen.probability <= probabilities[-1]


def test_json_is_plain_and_close(explained):
    _, _, explanation = explained
    text = json.dumps(explanation.as_json(), allow_nan=False)
    record = json.loads(text)
    for name in ("encoder", "decoder"):
        for layer, plain in zip(
            getattr(explanation, name).layers, record[name]["layers"], strict=True
        ):
            for head, shown in zip(layer.self_attention, plain["self_attention"], strict=True):
                np.testing.assert_allclose(shown["weights"], head.weights, atol=1e-5, rtol=0)
                np.testing.assert_allclose(shown["products"], head.products, rtol=1e-4, atol=1e-6)
    assert record["target"]["text"] == explanation.target.text
    assert record["model"]["parameters"] == explanation.model.parameters


@pytest.mark.parametrize("sentence", ["", "   ", "\n"])
def test_an_empty_sentence_is_refused(sentence):
    tokenizer = make_tokenizer()
    with pytest.raises(DataError, match="empty") as caught:
        explain(make_model(len(tokenizer)), tokenizer, sentence)
    assert "quotes" in caught.value.remedy


def test_a_long_sentence_is_refused_with_the_limit():
    tokenizer = make_tokenizer("word")
    model = make_model(len(tokenizer))
    with pytest.raises(DataError, match=f"{MAX_TOKENS + 1} tokens.*{MAX_TOKENS}") as caught:
        explain(model, tokenizer, " ".join(["bear"] * (MAX_TOKENS + 1)))
    assert "shorten" in caught.value.remedy
    longest = explain(model, tokenizer, " ".join(["bear"] * MAX_TOKENS), decoding=SHORT)
    assert len(longest.source.tokens) == MAX_TOKENS + 1


def test_unknown_words_are_shown_as_written():
    tokenizer = make_tokenizer("word")
    explanation = explain(
        make_model(len(tokenizer)), tokenizer, "A cute zebra is reading.", decoding=SHORT
    )
    unknown = [token for token in explanation.source.tokens if token.unknown]
    assert [(token.text.strip("▁ "), token.id) for token in unknown] == [
        ("zebra", tokenizer.unk_id)
    ]


def test_the_model_is_left_in_evaluation_mode_without_gradients():
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), dropout=0.5).train()
    first = explain(model, tokenizer, SENTENCE, decoding=SHORT).as_json()
    assert not model.training
    assert first == explain(model, tokenizer, SENTENCE, decoding=SHORT).as_json()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_empty_translation_has_one_step():
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tie_embeddings="none", norm_placement="post")
    with torch.no_grad():
        model.decoder.blocks[-1].feed_forward_residual.norm.bias.fill_(5)
        model.head.weight[tokenizer.eos_id].fill_(5)
    explanation = explain(model, tokenizer, SENTENCE, decoding=SHORT)
    assert explanation.target.text == ""
    assert [step.chosen.token for step in explanation.steps] == ["[EOS]"]
    assert explanation.alignment[0].shape == (1, len(explanation.source.words))
    assert "</html>" in render_page(explanation)

"""State space models against `transformers`' Mamba-2, both ways; chunks do not matter."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from peluche.errors import ConfigError
from peluche.models.layouts import read_entries
from peluche.models.state_space_layouts import read_state_space, write_state_space
from peluche.models.state_space_lm import StateSpaceLMConfig

V = 37
TOKENS = torch.randint(0, V, (2, 29), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@torch.no_grad()
def test_logits_are_theirs_both_ways(tmp_path, groups, tied):
    torch.manual_seed(0)
    config = transformers.Mamba2Config(
        vocab_size=V,
        hidden_size=16,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=8,
        state_size=6,
        n_groups=groups,
        chunk_size=8,
        tie_word_embeddings=tied,
    )
    theirs = transformers.Mamba2ForCausalLM(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    read = json.loads((tmp_path / "config.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    found, entries = read_state_space(read, tensors, tmp_path)
    ours = found.build(V).eval()
    ours.load_state_dict(read_entries(entries, tensors, tmp_path))
    expected = theirs(TOKENS).logits
    torch.testing.assert_close(ours.logits(ours.hidden(TOKENS)), expected, atol=1e-5, rtol=1e-5)

    written, tensors = write_state_space(found, ours.state_dict(), V)
    again = transformers.Mamba2ForCausalLM.from_pretrained(
        None, config=transformers.Mamba2Config.from_dict(written), state_dict=tensors
    )
    torch.testing.assert_close(again.eval()(TOKENS).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 8, 64])
@torch.no_grad()
def test_the_chunk_changes_nothing(chunk):
    found = []
    for size in (chunk, 29):
        torch.manual_seed(0)
        mixer = {"heads": 4, "width": 8, "state": 6, "chunk": size}
        config = StateSpaceLMConfig.parse({"d_model": 16, "layers": 2, "mixer": mixer})
        found.append(config.build(V).eval().hidden(TOKENS))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_packed_documents_are_read_as_if_alone():
    torch.manual_seed(0)
    mixer = {"heads": 4, "width": 8, "state": 6, "chunk": 8}
    model = StateSpaceLMConfig.parse({"d_model": 16, "layers": 2, "mixer": mixer}).build(V).eval()
    ids = torch.tensor([[0] * 2 + [1] * 9 + [2] * 18] * 2)
    together = model.hidden(TOKENS, document_ids=ids)
    alone = torch.cat([model.hidden(piece) for piece in TOKENS.split([2, 9, 18], 1)], 1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="groups 3"):
        StateSpaceLMConfig.parse({"mixer": {"heads": 4, "groups": 3}})


def test_what_has_no_equal_is_refused():
    values = transformers.Mamba2Config(use_bias=True).to_dict()
    with pytest.raises(ConfigError, match="no equal"):
        read_state_space(values, (), "here")

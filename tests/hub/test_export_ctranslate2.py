"""Exported to CTranslate2: equal log-probabilities, equal tokens."""

import json
import sys

import ctranslate2
import pytest
import torch

from peluche.errors import ConfigError, MissingExtraError
from peluche.generation.beam import beam_search
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import ModelDecoder
from peluche.generation.search import Request, greedy_search
from peluche.hub.ctranslate2 import export_ctranslate2

NEVER = torch.tensor([0, 1, 2])
POST, SANDWICH = {"norm_placement": "post"}, {"norm_placement": "sandwich"}
RMS = {"norm": "rmsnorm"}
EXPRESSIBLE = [
    {},
    POST,
    {"tie_embeddings": "none", "bias": False},
    POST | RMS | {"tie_embeddings": "decoder", "positions": "none"},
    {"positions": "learned", "activation": "gelu"},
    {"positions": "rope", "activation": "swiglu", "kv_heads": 2, "bias": False} | RMS,
    {"positions": "relative", "activation": "geglu", "kv_heads": 1},
    POST | {"activation": "relu2", "kv_heads": 1, "positions": "rope"},
    SANDWICH | RMS | {"positions": "relative"},
    SANDWICH | {"kv_heads": 2},
]


def export(made, folder):
    export_ctranslate2(made.config, made.model.state_dict(), made.tokenizer, folder)
    return ctranslate2.Translator(str(folder), device="cpu", intra_threads=1)


def words(made, rows):
    """Token strings as CTranslate2 wants them: it puts [EOS] after sources itself."""
    return [[made.tokenizer.token(number) for number in row if number != 3] for row in rows]


def log_probabilities(made):
    """Of the tokens of `made.target` and [EOS], where [PAD], [UNK] and [BOS] have none."""
    logits = made.logits()
    logits[..., NEVER] = -torch.inf
    following = torch.cat([made.target[:, 1:], torch.full((3, 1), 3)], dim=1)
    return logits.log_softmax(-1).gather(-1, following[..., None])[..., 0]


@pytest.mark.parametrize("settings", EXPRESSIBLE, ids=str)
def test_log_probabilities_are_equal(tiny, tmp_path, settings):
    made = tiny(**settings)
    translator = export(made, tmp_path / "out")
    targets = words(made, made.target[:, 1:].tolist())
    results = translator.score_batch(words(made, made.source_rows), targets)
    found = torch.tensor([result.log_probs for result in results])
    torch.testing.assert_close(found, log_probabilities(made), atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", EXPRESSIBLE, ids=str)
def test_greedy_search_says_the_same(tiny, tmp_path, settings):
    made = tiny(**settings)
    translator = export(made, tmp_path / "out")
    rows = made.source_rows[:2]  # for a source without words CTranslate2 says nothing, unasked
    results = translator.translate_batch(words(made, rows), beam_size=1, max_decoding_length=8)
    requests = [Request(row, 9) for row in rows]
    with torch.no_grad():
        ours = greedy_search(ModelDecoder(made.model), requests, DecodingConfig(beams=1))
    assert [r.hypotheses[0] for r in results] == words(made, [best.tokens for [best] in ours])


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_search_says_the_same(trained, tmp_path, monkeypatch, placement, penalty):
    made = trained(placement)
    logits, silent = made.model.logits, torch.zeros(len(made.tokenizer)).index_fill(0, NEVER, -1e4)
    monkeypatch.setattr(made.model, "logits", lambda hidden: logits(hidden) + silent)
    translator = export(made, tmp_path / "out")
    rows = made.source_rows[:2]
    results = translator.translate_batch(
        words(made, rows),
        beam_size=4,
        length_penalty=penalty,
        max_decoding_length=13,
        # Without these it stops at four finished beams, and does not count [EOS] in the length.
        patience=8,
        return_end_token=True,
    )
    requests = [Request(row, 14) for row in rows]
    config = DecodingConfig(beams=4, length_penalty=penalty)
    with torch.no_grad():
        ours = beam_search(ModelDecoder(made.model), requests, config)
    found = [result.hypotheses[0][:-1] for result in results]
    assert found == words(made, [best.tokens for [best] in ours])
    assert any(found)


def test_folder_says_how_sentences_begin_and_end(tiny, tmp_path):
    export(tiny(**RMS), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["decoder_start_token"] == config["bos_token"] == "[BOS]"
    assert (config["unk_token"], config["eos_token"]) == ("[UNK]", "[EOS]")
    assert config["add_source_eos"]
    assert not config["add_source_bos"]
    assert config["layer_norm_epsilon"] == 1e-6
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_long_sentences_keep_their_positions(tiny, tmp_path):
    made = tiny()
    translator = export(made, tmp_path / "out")
    source = torch.randint(4, 60, (1, 600))
    result = translator.score_batch(words(made, source.tolist()), words(made, [[5]]))[0]
    with torch.no_grad():
        memory = made.model.encode(
            torch.cat([source, torch.tensor([[3]])], 1), torch.ones(1, 601, dtype=torch.bool)
        )
        logits = made.model.logits(made.model.hidden(torch.tensor([[2]]), condition=memory))
    logits[..., NEVER] = -torch.inf
    expected = logits.log_softmax(-1)[0, 0, 5]
    assert result.log_probs[0] == pytest.approx(float(expected), abs=1e-4)


def test_alibi_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match="positions=alibi"):
        export(tiny(positions="alibi"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_package_is_named(tiny, tmp_path, monkeypatch):
    for name in ("ctranslate2", "ctranslate2.specs"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        export(tiny(), tmp_path / "out")
    assert caught.value.remedy == "pip install 'peluche[export]'"

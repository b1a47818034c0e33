"""Texts with their middle at the end, and rows that are read in part in both directions."""

import numpy as np
import pytest
import torch

from peluche.data.infilling import INFILLING, Infilling, InfillingConfig, infilling_ids
from peluche.data.packing import LanguageBatch, PackingConfig, PrefixStream
from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.objectives.causal import PrefixConfig
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["the quick brown bear reads", "a book", "", "§ und ß"] * 50


@pytest.fixture(scope="module")
def tokenizer():
    config = TokenizerConfig(vocab_size=300, byte_level=True, special=INFILLING)
    return config.build(TEXTS)


def test_the_pieces_are_the_text(tokenizer):
    ids = infilling_ids(tokenizer)
    rows = Infilling(InfillingConfig(share=0.5), tokenizer, seed=1)(TEXTS)
    moved = 0
    for text, row in zip(TEXTS, rows, strict=True):
        assert row[0] == tokenizer.bos_id
        assert row[-1] == tokenizer.eos_id
        if ids[0] not in row:
            assert tokenizer.decode(row) == text
            continue
        moved += 1
        places = [row.index(number) for number in ids]
        assert places[0] == 1
        before, after, middle = (
            tokenizer.decode(row[start + 1 : end])
            for start, end in zip(places, [*places[1:], len(row) - 1], strict=True)
        )
        assert before + middle + after == text
    assert 0.4 < moved / len(TEXTS) < 0.6


def test_where_texts_are_cut_does_not_depend_on_blocks(tokenizer):
    whole = Infilling(InfillingConfig(), tokenizer, seed=1)(TEXTS)
    parts = Infilling(InfillingConfig(), tokenizer, seed=1)
    blocks = [parts(TEXTS[start : start + 7], start) for start in range(0, 200, 7)]
    assert [row for block in blocks for row in block] == whole
    assert Infilling(InfillingConfig(), tokenizer, seed=2)(TEXTS) != whole


def test_a_tokenizer_without_markers_is_refused():
    with pytest.raises(ConfigError, match=r"\[MIDDLE\]"):
        infilling_ids(TokenizerConfig(kind="byte").build([]))


def prefixed(rows):
    random = np.random.default_rng(0)
    documents = [[2, *random.integers(4, 17, size).tolist(), 3] for size in (3, 40, 1, 17, 60)]
    tokens = np.array([token for one in documents for token in one], dtype=np.uint16)
    return list(PrefixStream(tokens, PackingConfig(length=16, tokens=16 * rows)).once())


def test_only_what_follows_the_prefix_is_said():
    batch = LanguageBatch.join(prefixed(3))
    alone = LanguageBatch.join(prefixed(1))
    assert torch.equal(batch.prefix, alone.prefix)
    assert torch.equal(batch.valid, alone.valid)
    assert len(set(batch.prefix.tolist())) > 3
    for row, prefix in zip(batch.valid, batch.prefix.tolist(), strict=True):
        assert not bool(row[: max(0, prefix - 1)].any())


@torch.no_grad()
def test_the_prefix_is_read_in_both_directions():
    torch.manual_seed(0)
    values = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 32, "dropout": 0.0}
    model = DecoderConfig.parse(values).build(17).eval()
    text = torch.randint(4, 17, (2, 12))
    changed = text.clone()
    changed[:, 5] = changed[:, 5] % 13 + 4
    prefix = torch.tensor([8, 3])
    moved = (model.hidden(text, prefix=prefix) - model.hidden(changed, prefix=prefix)).abs().sum(-1)
    assert bool((moved[0, :5] > 0).all())  # inside the prefix, earlier tokens see it
    assert bool((moved[1, :5] == 0).all())
    assert bool((moved[:, 5:] > 0).all())
    none = torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(model.hidden(text, prefix=none), model.hidden(text))


def test_the_objective_counts_what_is_said():
    model = DecoderConfig(d_model=16, layers=1, heads=2, d_ff=32).build(17)
    objective = PrefixConfig().build()
    for batch in prefixed(3):
        term = objective(model, batch).terms["loss"]
        assert term.count == objective.counts(batch)["loss"] == float(batch.valid.sum())

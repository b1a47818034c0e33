"""What is hidden, how much of it, by what; and that it is the same again."""

import numpy as np
import pytest
import torch

from peluche.data.masking import MaskedBatch, MaskedStream, MaskingConfig, word_beginnings
from peluche.data.packing import PackingConfig
from peluche.errors import ConfigError
from peluche.text.tokenizer import TokenizerConfig

TEXT = ["the quick brown teddy bear is reading a book about bears", "unbearable readers reread"]


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "bytes"])
def tokenizer(request):
    kind = "bpe" if request.param == "bytes" else request.param
    config = {"kind": kind, "vocab_size": 300, "special": ["[MASK]"]}
    config["byte_level"] = request.param == "bytes"
    return TokenizerConfig.parse(config).build(TEXT * 5)


def stream(tokenizer, rows=4, length=64, seed=0, **masking):
    ids = [number for text in TEXT * 60 for number in tokenizer.encode(text, bos=True, eos=True)]
    config = PackingConfig(length=length, tokens=length * rows)
    tokens = np.array(ids, dtype=np.uint16)
    return MaskedStream(tokens, config, seed, MaskingConfig.parse(masking), tokenizer)


def joined(batches):
    return MaskedBatch.join(list(batches))


def test_the_mask_is_no_text(tokenizer):
    assert tokenizer.mask_id == len(tokenizer) - 1
    assert tokenizer.mask_id not in tokenizer.encode("a [MASK] b")
    assert tokenizer.special_ids == {0, 1, 2, 3, tokenizer.mask_id}


@pytest.mark.parametrize("whole_words", [False, True])
def test_shares_are_those_asked_for(tokenizer, whole_words):
    batch = joined(stream(tokenizer, share=0.2, whole_words=whole_words).once())
    ordinary = batch.labels > 3
    assert not bool((batch.hidden & ~ordinary).any())
    share = float(batch.hidden.sum() / ordinary.sum())
    assert share == pytest.approx(0.2, abs=0.02 if not whole_words else 0.06)
    masked = float((batch.tokens[batch.hidden] == tokenizer.mask_id).float().mean())
    same = float((batch.tokens == batch.labels)[batch.hidden].float().mean())
    assert masked == pytest.approx(0.8, abs=0.05)
    assert same == pytest.approx(0.1, abs=0.05)  # a random token is the same one rarely
    assert torch.equal(batch.tokens[~batch.hidden], batch.labels[~batch.hidden])


def test_random_tokens_are_never_special(tokenizer):
    batch = joined(stream(tokenizer, mask=0.0, random=1.0, share=0.5).once())
    found = set(batch.tokens[batch.hidden].tolist())
    assert not found & tokenizer.special_ids
    assert len(found) > 20


def test_whole_words_are_hidden_or_not(tokenizer):
    batch = joined(stream(tokenizer, share=0.3, whole_words=True, mask=1.0, random=0.0).once())
    begins = word_beginnings(tokenizer)
    for labels, hidden in zip(batch.labels.numpy(), batch.hidden.numpy(), strict=True):
        special = labels < 4
        word = np.cumsum(begins[labels] | special)
        for number in np.unique(word[~special]):
            assert len(set(hidden[(word == number) & ~special].tolist())) == 1


def test_it_does_not_depend_on_the_batch(tokenizer):
    one, other = (joined(stream(tokenizer, rows=rows).once()) for rows in (1, 5))
    assert one.segments is one.relations is None
    for name in ("tokens", "labels", "hidden", "present", "document_ids"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_epochs_hide_other_tokens_and_can_be_resumed(tokenizer):
    source = stream(tokenizer)
    found = []
    for batch, position in source.batches():
        found.append((batch, position))
        if position.epoch == 2:
            break
    middle = len(found) // 2
    again, _ = next(stream(tokenizer).batches(found[middle][1]))
    assert torch.equal(again.tokens, found[middle + 1][0].tokens)
    starts = np.array([0])
    assert not torch.equal(source.batch(starts, 0).hidden, source.batch(starts, 1).hidden)


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"mask": 0.9, "random": 0.2}, "random 0.1"), ({"share": 0}, "share")],
)
def test_shares_that_do_not_fit_are_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        MaskingConfig.parse(values)


def test_a_tokenizer_has_to_have_a_mask_and_mark_words():
    plain = TokenizerConfig(kind="character").build(TEXT)
    with pytest.raises(ConfigError, match=r"\[MASK\]"):
        stream(plain)
    with pytest.raises(ConfigError, match="whole_words"):
        word_beginnings(plain)

"""Rows of two texts: what follows, what is from elsewhere, and that it is the same again."""

import numpy as np
import pytest
import torch

from peluche.data.masking import MaskedBatch, MaskingConfig
from peluche.data.next_sentence import ELSEWHERE, FOLLOWS, SentencePairStream
from peluche.data.packing import PackingConfig
from peluche.errors import DataError
from peluche.text.tokenizer import TokenizerConfig

# Document d has the words daa, dab, dac, …: a row tells where it is from.
LENGTHS = {"a": 40, "b": 2, "c": 9, "d": 1, "e": 23}


def word(name, number):
    return f"{name}{chr(97 + number // 26)}{chr(97 + number % 26)}"


def place(word):
    return 26 * (ord(word[1]) - 97) + ord(word[2]) - 97


TEXTS = [" ".join(word(name, n) for n in range(length)) for name, length in LENGTHS.items()]


@pytest.fixture(scope="module")
def tokenizer():
    config = {"kind": "word", "vocab_size": 200, "special": ["[MASK]"]}
    return TokenizerConfig.parse(config).build(TEXTS)


def stream(tokenizer, texts=TEXTS, length=12, rows=4, seed=0):
    ids = [number for one in texts for number in tokenizer.encode(one, bos=True, eos=True)]
    config = PackingConfig(length=length, tokens=length * rows)
    return SentencePairStream(
        np.array(ids, dtype=np.uint16), config, seed, MaskingConfig(), tokenizer
    )


def epochs(tokenizer, count):
    found = []
    for batch, position in stream(tokenizer).batches():
        if position.epoch == count:
            return MaskedBatch.join(found)
        found.append(batch)
    raise AssertionError


def words(tokenizer, ids):
    return [tokenizer.token(number).removeprefix("▁") for number in ids]


def test_rows_are_two_pieces_and_half_of_them_follow(tokenizer):
    batch = epochs(tokenizer, 60)
    for row, relation in zip(range(len(batch.labels)), batch.relations.tolist(), strict=True):
        ids = batch.labels[row][batch.present[row]].tolist()
        segments = batch.segments[row][batch.present[row]].tolist()
        first = segments.index(1)
        assert ids[0] == tokenizer.bos_id
        assert ids[first - 1] == ids[-1] == tokenizer.eos_id
        assert segments == [0] * first + [1] * (len(ids) - first)
        one, other = words(tokenizer, ids[1 : first - 1]), words(tokenizer, ids[first:-1])
        for piece in (one, other):
            first = place(piece[0])
            assert piece == [word(piece[0][0], first + n) for n in range(len(piece))]
        if relation == FOLLOWS:
            assert other[0] == word(one[0][0], place(one[-1]) + 1)
        else:
            assert relation == ELSEWHERE
            assert one[0][0] != other[0][0]
    assert float(batch.relations.float().mean()) == pytest.approx(0.5, abs=0.06)
    # A document of one word gives no row, and no second piece.
    seen = set(words(tokenizer, batch.labels.unique().tolist()))
    assert seen >= {word(name, n) for name in "abce" for n in range(LENGTHS[name])}
    assert word("d", 0) not in seen


def test_hidden_tokens_are_ordinary(tokenizer):
    batch = epochs(tokenizer, 3)
    assert bool((batch.hidden & (batch.labels > 3)).equal(batch.hidden))
    assert batch.hidden.any(1).all()


def test_it_does_not_depend_on_the_batch_and_can_be_resumed(tokenizer):
    one, other = (MaskedBatch.join(list(stream(tokenizer, rows=rows).once())) for rows in (1, 3))
    for name, tensor in vars(one).items():
        assert torch.equal(tensor, getattr(other, name)), name
    batches = stream(tokenizer).batches()
    _, position = next(batches)
    expected, _ = next(batches)
    again, _ = next(stream(tokenizer).batches(position))
    assert torch.equal(again.tokens, expected.tokens)
    assert torch.equal(again.relations, expected.relations)


@pytest.mark.parametrize("texts", [TEXTS[:1], [TEXTS[0], TEXTS[3]]])
def test_one_text_is_not_enough(tokenizer, texts):
    with pytest.raises(DataError, match="no two texts"):
        stream(tokenizer, texts)

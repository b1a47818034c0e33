"""Learning: the same every time, and clear about what cannot be learnt."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from pathlib import Path

import pytest

from peluche.errors import ConfigError, DataError
from peluche.text.learning import _interruptibly
from peluche.text.pipelines import SPECIAL
from peluche.text.tokenizer import TokenizerConfig

KINDS = ["word", "character", "byte", "bpe", "wordpiece", "unigram"]


def babble(lines: int) -> list[str]:
    """Sentences of made-up words: many ties between pairs and between words."""
    generator = random.Random(7)
    syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "ou", "é")]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(3000)]
    return [" ".join(generator.choices(words, k=8)).capitalize() + "." for _ in range(lines)]


@pytest.mark.parametrize("options", [*({"kind": kind} for kind in KINDS), {"byte_level": True}])
def test_learning_twice_gives_the_same_file(options: dict[str, object], tmp_path: Path) -> None:
    texts = babble(1000)
    config = TokenizerConfig.parse({"vocab_size": 1000, **options})
    for number in range(3):
        config.build(iter(texts)).save(tmp_path / f"{number}.json")
    files = {(tmp_path / f"{number}.json").read_bytes() for number in range(3)}
    assert len(files) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_has_the_size_asked_for(kind: str) -> None:
    texts = babble(500)
    tokenizer = TokenizerConfig.parse({"kind": kind, "vocab_size": 500}).build(texts)
    characters = len(set("".join(texts)))
    expected = {"character": characters + len(SPECIAL), "byte": 260}
    assert len(tokenizer) == expected.get(kind, 500)


@pytest.mark.parametrize("kind", ["word", "character", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("texts", [[], ["", " \t "]])
def test_no_text(kind: str, texts: list[str]) -> None:
    with pytest.raises(DataError, match="no text to learn"):
        TokenizerConfig.parse({"kind": kind}).build(texts)


def test_bytes_need_no_text() -> None:
    assert len(TokenizerConfig(kind="byte").build([])) == 260


@pytest.mark.parametrize(
    "options", [{"kind": "bpe"}, {"byte_level": True}, {"kind": "wordpiece"}, {"kind": "unigram"}]
)
def test_smallest_vocabulary_is_said_and_works(options: dict[str, object]) -> None:
    texts = babble(50)
    with pytest.raises(ConfigError, match="vocab_size 5 is too small") as caught:
        TokenizerConfig.parse({**options, "vocab_size": 5}).build(texts)
    found = re.search(r"at least (\d+)", str(caught.value))
    assert found is not None
    smallest = int(found[1])
    assert len(TokenizerConfig.parse({**options, "vocab_size": smallest}).build(texts)) == smallest
    with pytest.raises(ConfigError, match=f"at least {smallest}"):
        TokenizerConfig.parse({**options, "vocab_size": smallest - 1}).build(texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "sentencepiece"}, "kind"),
        ({"vocab_size": 4}, "vocab_size"),
        ({"kind": "word", "byte_level": True}, "byte_level belongs to kind 'bpe'"),
        ({"kind": "unigram", "min_frequency": 2}, "min_frequency has no meaning"),
        ({"vocabulary": 100}, "did you mean 'vocab_size'"),
    ],
)
def test_impossible_configurations(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenizerConfig.parse(options)


@pytest.mark.parametrize("kind", ["word", "character"])
def test_rare_ones_are_left_out(kind: str) -> None:
    config = TokenizerConfig.parse({"kind": kind, "min_frequency": 2})
    tokenizer = config.build(["b b b b a a a", "x"])
    assert tokenizer.encode("x")[-1] == tokenizer.unk_id
    assert tokenizer.unk_id not in tokenizer.encode("b a")


def test_bpe_merges_the_most_frequent_pair_first() -> None:
    tokenizer = TokenizerConfig(vocab_size=4 + 4 + 2).build(["abab ab ba"])
    # Pairs: ▁a twice, ab three times, ba twice, ▁b once.
    assert tokenizer.tokens()[len(SPECIAL) :][:4] == ["a", "b", "▁", "ab"]


def test_an_error_in_the_source_of_texts_comes_through() -> None:
    def texts():
        yield "a cute teddy bear"
        raise DataError("line 2 is not text")

    with pytest.raises(DataError, match="line 2"):
        TokenizerConfig().build(texts())


def test_an_interrupt_does_not_wait_for_what_is_learnt():
    import hashlib

    def learn():  # as the library: without Python's lock, deaf to signals
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 3_000_000)

    before = set(threading.enumerate())
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        _interruptibly(learn)
    assert any(thread.daemon for thread in set(threading.enumerate()) - before)


def test_what_is_wrong_in_the_other_thread_is_raised_in_this_one():
    def fail():
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        _interruptibly(fail)

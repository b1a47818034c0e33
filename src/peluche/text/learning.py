"""How each kind of tokenizer is learnt from text."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, models, trainers

from peluche.errors import ConfigError, DataError
from peluche.text.pipelines import (
    BOS,
    BYTE_CHARACTERS,
    CONTINUATION,
    EOS,
    PAD,
    SPECIAL,
    UNK,
    Kind,
    byte_pipeline,
    character_pipeline,
    inside_words,
    spaced_unknown,
    word_pipeline,
)
from peluche.text.unigram import learn_pieces

if TYPE_CHECKING:
    from peluche.text.tokenizer import TokenizerConfig


def learn(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """Learn the tokenizer that `config` describes.

    The same texts in the same order give the same tokenizer, byte for byte.

    Raises:
        DataError: if `texts` holds no text.
        ConfigError: if the vocabulary is too small for the characters of the text.
    """
    further = len(config.special)
    smaller = config.model_copy(update={"vocab_size": config.vocab_size - further})
    specification = json.loads(LEARNERS[config.kind](smaller, texts).to_str())
    # [UNK] is not skipped when decoding: a reader should see that something is missing.
    specification["added_tokens"] = [_special(token) for token in (PAD, BOS, EOS)]
    tokenizer = Tokenizer.from_str(json.dumps(specification))
    if further:
        tokenizer.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in config.special]
        )
    return tokenizer


def learn_words(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """The most frequent words and punctuation marks; all others are unknown."""
    tokenizer = word_pipeline(config, models.WordLevel(unk_token=UNK), (spaced_unknown(),))
    _train(tokenizer, trainers.WordLevelTrainer(**_limits(config)), texts)
    return tokenizer


def learn_characters(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """The most frequent Unicode code points, whitespace included."""
    tokenizer = character_pipeline(config, models.WordLevel(unk_token=UNK))
    _train(tokenizer, trainers.WordLevelTrainer(**_limits(config)), texts)
    return tokenizer


def learn_bytes(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """The 256 bytes of UTF-8, byte b as id b + 4. Nothing is learnt, `texts` is not read."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *BYTE_CHARACTERS))}
    return byte_pipeline(config, models.BPE(vocab=vocabulary, merges=[]), words=False)


def learn_bpe(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909, section 3.2).

    Starts from characters, or from the 256 bytes with `byte_level` (Radford et al. 2019,
    section 2.2), and merges the most frequent neighbours until the vocabulary is full.
    """
    if config.byte_level:
        tokenizer = byte_pipeline(config, models.BPE(), words=True)
        alphabet = list(BYTE_CHARACTERS)
    else:
        tokenizer = word_pipeline(config, models.BPE(unk_token=UNK))
        alphabet = []
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **_limits(config))
    _train(tokenizer, trainer, texts)
    _require_room(config, tokenizer.get_vocab_size())
    return tokenizer


def learn_wordpiece(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """WordPiece: the longest known piece first (as in BERT, Devlin et al. 2019, arXiv 1810.04805).

    Pieces inside a word start with ##. The vocabulary is found by merging the most frequent
    neighbours, as the `tokenizers` library does it, not by the likelihood of the first WordPiece.
    """
    texts = list(texts)
    model = models.WordPiece(unk_token=UNK, continuing_subword_prefix=CONTINUATION)
    tokenizer = word_pipeline(config, model, (inside_words(), spaced_unknown()))
    limits = _limits(config)
    _train(tokenizer, trainers.WordPieceTrainer(**{**limits, "vocab_size": 0}), texts)
    _require_room(config, tokenizer.get_vocab_size())
    # The trainer numbers "##a", "##b"… in the order of a randomly seeded hash map, which also
    # settles ties between merges. Given beforehand, they have one order.
    alphabet = sorted(set(tokenizer.get_vocab()) - set(SPECIAL))
    limits["special_tokens"] = [*SPECIAL, *alphabet]
    _train(tokenizer, trainers.WordPieceTrainer(**limits), texts)
    return tokenizer


def learn_unigram(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """The unigram language model of pieces (Kudo 2018, arXiv 1804.10959, section 3.2)."""
    tokenizer = word_pipeline(config, models.Unigram())
    words: Counter[str] = Counter()
    with _surrogates_refused():
        for text in texts:
            normal = tokenizer.normalizer.normalize_str(text)
            words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    if not words:
        raise _no_text()
    _require_room(config, len(SPECIAL) + len(set().union(*words)))
    pieces = learn_pieces(words, config.vocab_size - len(SPECIAL))
    special = [(token, 0.0) for token in SPECIAL]
    tokenizer.model = models.Unigram([*special, *pieces], unk_id=SPECIAL.index(UNK))
    return tokenizer


LEARNERS: dict[Kind, Callable[[TokenizerConfig, Iterable[str]], Tokenizer]] = {
    "word": learn_words,
    "character": learn_characters,
    "byte": learn_bytes,
    "bpe": learn_bpe,
    "wordpiece": learn_wordpiece,
    "unigram": learn_unigram,
}


def _limits(config: TokenizerConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "min_frequency": config.min_frequency,
        "special_tokens": list(SPECIAL),
        "show_progress": False,
    }


def _train(tokenizer: Tokenizer, trainer: trainers.Trainer, texts: Iterable[str]) -> None:
    seen_text = False

    def batches() -> Iterator[list[str]]:
        nonlocal seen_text
        remaining = iter(texts)
        while batch := list(islice(remaining, 1000)):
            seen_text = seen_text or any(text.strip() for text in batch)
            yield batch

    with _surrogates_refused():
        _interruptibly(lambda: tokenizer.train_from_iterator(batches(), trainer))
    if not seen_text:
        raise _no_text()


def _interruptibly(work: Callable[[], None]) -> None:
    """Do it in another thread: while Rust works, the main one would not hear Ctrl-C.

    What is interrupted goes on until the process ends, which does not wait for it.
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    future.result()


@contextmanager
def _surrogates_refused() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise DataError(
            f"half of a surrogate pair is not text: {error}",
            remedy="read the text with the encoding it was written in",
        ) from None


def _no_text() -> DataError:
    return DataError(
        "there is no text to learn a tokenizer from",
        remedy="give at least one line that is not blank",
    )


def _require_room(config: TokenizerConfig, smallest: int) -> None:
    if config.vocab_size < smallest:
        raise ConfigError(
            f"vocab_size {config.vocab_size} is too small: with the characters of this text and "
            f"the {len(SPECIAL)} special tokens it has to be {smallest} or more",
            where=f"tokenizer of kind '{config.kind}'",
            remedy=f"set vocab_size to at least {smallest}: tokenizer.vocab_size={smallest} of a "
            f"recipe, --vocab-size {smallest} of peluche tokenize",
        )


def _special(token: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": SPECIAL.index(token), "content": token, **flags, "special": True}

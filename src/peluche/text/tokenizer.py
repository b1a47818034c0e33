"""One interface to six kinds of tokenizer, each kept in one `tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import tokenizers
from pydantic import Field, model_validator

from peluche import files
from peluche.config import Config
from peluche.errors import CheckpointError, DataError
from peluche.text.forking import silence_forks
from peluche.text.learning import learn
from peluche.text.pieces import Piece, places_in
from peluche.text.pipelines import BYTE_CHARACTERS, SPECIAL, Kind, is_byte_level, kind_of

silence_forks()


class TokenizerConfig(Config):
    """What to learn a tokenizer as.

    Args:
        kind: how text is cut.
        vocab_size: the most entries to learn, special tokens included; `byte` always has 260.
        lowercase: lower the case of all text.
        normalization: Unicode normal form to bring all text to.
        min_frequency: how often a word, or a pair to merge, has to occur to be learnt.
        byte_level: start BPE from bytes instead of characters: no text is unknown, and decoding
            gives back exactly what was encoded (after normalization and lower-casing).
        special: further tokens that no text becomes, such as [MASK]; they come last.
    """

    kind: Kind = "bpe"
    vocab_size: int = Field(default=8000, ge=len(SPECIAL) + 1)
    lowercase: bool = False
    normalization: Literal["none", "nfc", "nfkc"] = "nfc"
    min_frequency: int = Field(default=1, ge=1)
    byte_level: bool = False
    special: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.byte_level and self.kind != "bpe":
            raise ValueError(f"byte_level belongs to kind 'bpe', not to '{self.kind}'")
        if self.min_frequency > 1 and self.kind in ("byte", "unigram"):
            raise ValueError(f"min_frequency has no meaning for kind '{self.kind}': leave it at 1")
        if len(set(self.special)) < len(self.special) or set(self.special) & set(SPECIAL):
            raise ValueError(
                f"special tokens are named twice; {' '.join(SPECIAL)} are always there"
            )
        return self

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """Learn the tokenizer from texts; for translation, from both languages together.

        Raises:
            DataError: if there is no text.
            ConfigError: if `vocab_size` has no room for the characters of the text.
        """
        return Tokenizer(learn(self, texts))


class SpecialIds(NamedTuple):
    """Ids that are no text; −1 where there is none.

    Attributes:
        never: those that a model must not say.
    """

    pad: int
    unk: int
    bos: int
    eos: int
    never: tuple[int, ...] = ()


MASK = "[MASK]"
# What hides a token, in BERT's and in RoBERTa's vocabulary.
MASKS = (MASK, "<mask>")
OWN = SpecialIds(pad=0, unk=1, bos=2, eos=3, never=(0, 1, 2))


class Tokenizer:
    """Strings to token ids and back. Made by `TokenizerConfig.build` or `Tokenizer.load`.

    Ids 0 to 3 are [PAD], [UNK], [BOS] and [EOS] in every tokenizer that is learnt here; those of
    pretrained models have their own. Text never becomes one of them, even if it spells it.

    Args:
        rust: the pipeline of the `tokenizers` library that does the work.
        special: ids of special tokens.
    """

    pad_id, unk_id, bos_id, eos_id, _ = OWN

    def __init__(self, rust: tokenizers.Tokenizer, special: SpecialIds = OWN) -> None:
        specification = json.loads(rust.to_str())
        self.kind: Kind = kind_of(specification)
        self.byte_level: bool = is_byte_level(specification["pre_tokenizer"])
        self.special = special
        self.pad_id, self.unk_id, self.bos_id, self.eos_id, _ = special
        added = specification["added_tokens"]
        self._added = {token["id"] for token in added}
        self._words = {token["id"] for token in added if not token["special"]}
        self._rust = rust
        # Without this, "[EOS]" inside a text would end the sentence.
        self._rust.encode_special_tokens = True

    def __reduce__(self) -> tuple[object, tuple[str, SpecialIds]]:
        return _from_json, (self._rust.to_str(), self.special)

    def __len__(self) -> int:
        return self._rust.get_vocab_size()

    @property
    def vocab_size(self) -> int:
        """The number of entries, special tokens included."""
        return len(self)

    @property
    def mask_id(self) -> int:
        """Of the token that hides another; −1 if there is none."""
        return next((found for name in MASKS if (found := self.id(name)) is not None), -1)

    @property
    def special_ids(self) -> set[int]:
        """Ids of all tokens that are no text."""
        own = {number for number in self.special[:4] if number >= 0}
        return own | {number for number in self._added if number not in self._words}

    def around(self, ids: Sequence[int]) -> list[int]:
        """Ids with the tokens before and after them that a text has."""
        before = [self.bos_id] * (self.bos_id >= 0)
        return [*before, *ids, *[self.eos_id] * (self.eos_id >= 0)]

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """The token ids of a text, with [BOS] before and [EOS] after if asked for."""
        return self.encode_batch([text], bos=bos, eos=eos)[0]

    def encode_batch(
        self, texts: Sequence[str], *, bos: bool = False, eos: bool = False
    ) -> list[list[int]]:
        """`encode` for many texts, on all cores.

        Raises:
            DataError: if a text holds half of a surrogate pair, which no encoding can write.
        """
        before = [self.bos_id] * (bos and self.bos_id >= 0)
        after = [self.eos_id] * (eos and self.eos_id >= 0)
        try:
            encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            _refuse_surrogates(texts)
            raise
        return [[*before, *encoding.ids, *after] for encoding in encodings]

    def encode_special(self, text: str) -> list[int]:
        """`encode`, but special tokens that the text spells become themselves.

        For text that is no person's, such as a template's.

        Raises:
            DataError: if the text holds half of a surrogate pair.
        """
        try:
            return self._with_special.encode(text, add_special_tokens=False).ids
        except TypeError:
            _refuse_surrogates([text])
            raise

    @cached_property
    def _with_special(self) -> tokenizers.Tokenizer:
        # A copy: texts may be encoded in other threads at the same time.
        return tokenizers.Tokenizer.from_str(self._rust.to_str())

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of token ids, without [PAD], [BOS] and [EOS] unless these are asked for.

        [UNK] stays visible. Bytes that are not UTF-8 become U+FFFD.
        """
        return self._rust.decode(ids, skip_special_tokens=skip_special)

    def decode_batch(
        self, batch: Sequence[Sequence[int]], *, skip_special: bool = True
    ) -> list[str]:
        """`decode` for many sequences, on all cores."""
        return self._rust.decode_batch(batch, skip_special_tokens=skip_special)

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a text with their places in it.

        The space before a piece belongs to it, so that the places of all pieces together cover
        the text, but for whitespace at its ends that the tokenizer drops.
        """
        try:
            encoding = self._rust.encode(text, add_special_tokens=False)
        except TypeError:
            _refuse_surrogates([text])
            raise
        places = places_in(text, encoding.tokens, encoding.offsets)
        return [
            Piece(
                text=text[start:end] if number == self.unk_id else self.readable(number),
                id=number,
                start=start,
                end=end,
                unknown=number == self.unk_id,
            )
            for number, (start, end) in zip(encoding.ids, places, strict=True)
        ]

    def readable(self, number: int) -> str:
        """A token as a person reads it: bytes as the characters that they spell, else <0xE9>."""
        token = self.token(number)
        if not self.byte_level or number in self._added:
            return token
        spelt = bytes(BYTE_CHARACTERS.index(character) for character in token)
        try:
            return spelt.decode()
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in spelt)

    def token(self, number: int) -> str:
        """The vocabulary's entry for an id.

        Raises:
            IndexError: if there is no such id.
        """
        token = self._rust.id_to_token(number) if number >= 0 else None
        if token is None:
            raise IndexError(f"no token has the id {number}: the vocabulary has {len(self)}")
        return token

    def tokens(self) -> list[str]:
        """All entries of the vocabulary, by id."""
        return [self.token(number) for number in range(len(self))]

    def id(self, token: str) -> int | None:
        """The id of an entry of the vocabulary, None if there is no such entry."""
        return self._rust.token_to_id(token)

    def to_json(self) -> str:
        """What `save` writes, on one line."""
        return self._rust.to_str()

    def save(self, path: Path) -> None:
        """Write one `tokenizer.json`, which `tokenizers.Tokenizer.from_file` reads as well."""
        files.write_text(Path(path), self._rust.to_str(pretty=True))

    @classmethod
    def load(cls, path: Path, special: SpecialIds = OWN) -> Tokenizer:
        """Read a `tokenizer.json`, or the one in a directory.

        Args:
            special: of a tokenizer that was not learnt here.

        Raises:
            CheckpointError: if there is none, or it is damaged, or not one of this library.
        """
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        remedy = "restore the file, or learn the tokenizer again"
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            raise CheckpointError("there is no tokenizer", where=path, remedy=remedy) from None
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"the tokenizer cannot be read: {error}", where=path, remedy=remedy
            ) from None
        try:
            tokenizer = _from_json(text, special)
        # The Rust library raises bare `Exception` for whatever it cannot parse.
        except Exception as error:
            raise CheckpointError(
                f"the tokenizer is damaged: {error}", where=path, remedy=remedy
            ) from None
        own = [tokenizer.id(token) for token in SPECIAL] == list(range(len(SPECIAL)))
        if special == OWN and not own:
            raise CheckpointError(
                f"this tokenizer does not have {' '.join(SPECIAL)} as ids 0 to 3",
                where=path,
                remedy="use a tokenizer that peluche has learnt",
            )
        return tokenizer


def _from_json(text: str, special: SpecialIds = OWN) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(text), special)


def _refuse_surrogates(texts: Iterable[str]) -> None:
    for number, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"half of a surrogate pair (U+{ord(text[error.start]):04X}) is not text",
                where=f"text {number}, character {error.start}",
                remedy="read the text with the encoding it was written in",
            ) from None

"""What happens to text around a tokenizer's model: normalizing, cutting, and joining again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

if TYPE_CHECKING:
    from peluche.text.tokenizer import TokenizerConfig

Kind = Literal["word", "character", "byte", "bpe", "wordpiece", "unigram"]

PAD, UNK, BOS, EOS = SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")
MARK = "▁"
CONTINUATION = "##"

# What Python's str.split() calls whitespace; the regex engine's \s lacks \x1c to \x1f.
WHITESPACE = r"[\s\x1c-\x1f]+"

# A run of letters, a run of digits, or any other character alone, each with the space before it.
# An English clitic is cut off with its apostrophe (it|'s) and an elided French word keeps its own
# (l'|ours), so that both sides are words that occur elsewhere too.
_LETTER = r"[\p{L}\p{M}]"
_CLITIC = rf"(?i:s|t|re|ve|m|ll|d)(?!{_LETTER})"
_ELISION = rf"(?:['’](?={_LETTER})(?!{_CLITIC}))"
WORD = rf"['’]{_CLITIC}|{MARK}?{_LETTER}+{_ELISION}?|{MARK}?\p{{N}}+|{MARK}?[\s\S]"
CHARACTER = r"[\s\S]"


def word_pipeline(
    config: TokenizerConfig,
    model: models.Model,
    before_joining: tuple[decoders.Decoder, ...] = (),
) -> Tokenizer:
    """Words and punctuation, each with a ▁ for the space before it, by which decoding knows it.

    Any run of whitespace counts as one space, and none is kept at the ends.
    """
    tokenizer = Tokenizer(model)
    one_space = normalizers.Replace(Regex(WHITESPACE), " ")
    tokenizer.normalizer = _normalizer(config, one_space, normalizers.Strip())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(MARK, prepend_scheme="always", split=False),
            pre_tokenizers.Split(Regex(WORD), "isolated"),
        ]
    )
    joining = decoders.Metaspace(MARK, prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([*before_joining, joining])
    return tokenizer


def inside_words() -> decoders.Decoder:
    """Takes the ## off pieces inside words. Text cannot forge one: # is always cut off alone."""
    return decoders.Replace(Regex(f"^{CONTINUATION}"), "")


def spaced_unknown() -> decoders.Decoder:
    """Puts a space before an unknown word: the one in the text, if any, went with the word."""
    return decoders.Replace(UNK, MARK + UNK)


def character_pipeline(config: TokenizerConfig, model: models.Model) -> Tokenizer:
    """Code points, whitespace like any other."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(config)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTER), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def byte_pipeline(config: TokenizerConfig, model: models.Model, *, words: bool) -> Tokenizer:
    """The bytes of UTF-8; with `words`, cut into words and spaces as GPT-2 cuts."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(config)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def is_byte_level(cutter: dict[str, Any] | None) -> bool:
    """Whether a pre-tokenizer of a parsed `tokenizer.json` ends in bytes."""
    if cutter is None:
        return False
    if cutter["type"] == "Sequence":
        return any(is_byte_level(part) for part in cutter["pretokenizers"])
    return bool(cutter["type"] == "ByteLevel")


def kind_of(specification: dict[str, Any]) -> Kind:
    """The kind of a tokenizer from its parsed `tokenizer.json`.

    Raises:
        KeyError: if it is none that is known here.
    """
    model = specification["model"]["type"]
    cutter = specification["pre_tokenizer"] or {"type": None}
    if model == "WordLevel":
        return "character" if cutter["type"] == "Split" else "word"
    if model == "BPE":
        return "byte" if cutter["type"] == "ByteLevel" and not cutter["use_regex"] else "bpe"
    subwords: dict[str, Kind] = {"WordPiece": "wordpiece", "Unigram": "unigram"}
    return subwords[model]


def _normalizer(
    config: TokenizerConfig, *more: normalizers.Normalizer
) -> normalizers.Normalizer | None:
    steps = list(more)
    if config.lowercase:
        steps.insert(0, normalizers.Lowercase())
    if config.normalization != "none":
        forms = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}
        steps.insert(0, forms[config.normalization]())
    return normalizers.Sequence(steps) if steps else None


def _byte_characters() -> str:
    """The character that stands for each byte in a byte-level vocabulary.

    Printable Latin-1 characters stand for themselves, the others follow from U+0100 on: the table
    of GPT-2, which the ByteLevel parts of the `tokenizers` library have built in.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


BYTE_CHARACTERS = _byte_characters()

"""Tokenizers of pretrained models: from a folder's `tokenizer.json`, or from a GGUF file's head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, FailFast, Field
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Rust

from peluche.config import typed
from peluche.errors import CheckpointError, ConfigError, PelucheError
from peluche.text.sentencepiece import build_sentencepiece
from peluche.text.tokenizer import SpecialIds, Tokenizer

# The second is what a file says that has no signed numbers.
NONE, UNSIGNED_NONE = -1, (1 << 32) - 1
SETTINGS = "tokenizer_config.json"
# What llama.cpp calls them (`tokenizer.ggml.token_type`).
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6

# What the Rust library raises where it would end a program of its own; it cannot be imported.
PANIC = "PanicException"

_CLITICS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How text is cut before its pieces are merged, by `tokenizer.ggml.pre`: an expression, None for
# GPT-2's own.
CUTS = {
    "gpt-2": None,
    "default": None,
    "smollm": "digits",
    "llama-bpe": _CLITICS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST,
    "qwen2": _CLITICS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST,
}

# Where a file with pieces and scores does not say others.
SENTENCEPIECE_IDS = {"bos": 1, "eos": 2, "unknown": 0}

ID = Annotated[int, Field(ge=NONE, lt=1 << 32)]


def _first(value: Any) -> Any:
    """One of several ids."""
    return (value or [NONE])[0] if isinstance(value, list) else value


def _content(value: Any) -> Any:
    """How a token is spelt that has settings of its own."""
    return value.get("content") if isinstance(value, dict) else value


# Of what type values are; see `typed`.
GGUF: dict[str, Any] = {
    **{
        f"tokenizer.ggml.{name}": kind
        for name, kind in {
            "model": str,
            "pre": str,
            "tokens": Annotated[list[str], FailFast()],
            "merges": Annotated[list[str], FailFast()],
            "token_type": Annotated[list[int], FailFast()],
            "scores": Annotated[list[float], FailFast()],
            "add_bos_token": bool,
            "add_space_prefix": bool,
            **dict.fromkeys(
                ("bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"), ID
            ),
        }.items()
    },
    "tokenizer.chat_template": str,
}
_NAMES = ("bos", "eos", "pad", "unk", "cls", "sep")
TOKENS = {f"{name}_token": Annotated[str, BeforeValidator(_content)] for name in _NAMES}
IDS: dict[str, Any] = {
    **{
        f"{name}_token_id": Annotated[ID, BeforeValidator(_first)]
        for name in (*_NAMES, "decoder_start")
    },
    "is_encoder_decoder": bool,
}


def from_gguf(metadata: Mapping[str, Any], where: object) -> Tokenizer:
    """The tokenizer in a GGUF file's metadata.

    Raises:
        ConfigError: it is of a kind that is not known.
        CheckpointError: something of it is missing.
    """
    metadata = typed(metadata, GGUF, where)
    kind = metadata.get("tokenizer.ggml.model")
    readers = {"gpt2": _byte_level, "llama": _sentencepiece}
    if kind not in readers:
        raise ConfigError(
            f"a tokenizer of model '{kind}' cannot be read from GGUF",
            where=where,
            remedy=f"give a model with one of {', '.join(readers)}, or a Hugging Face folder of it",
        )
    try:
        rust = readers[kind](metadata, where)
    except PelucheError:
        raise
    except KeyError as error:
        raise CheckpointError(
            f"its metadata lack {error}", where=where, remedy="get the file again"
        ) from None
    # The Rust library raises bare `Exception` for what does not fit together.
    except Exception as error:
        raise CheckpointError(
            f"its tokenizer is damaged: {error}", where=where, remedy="get the file again"
        ) from None
    for token, type_ in _typed_tokens(metadata):
        if type_ == CONTROL:
            rust.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif type_ == USER_DEFINED:
            rust.add_tokens([AddedToken(token, normalized=False)])

    def number(name: str) -> int:
        default = SENTENCEPIECE_IDS.get(name, NONE) if kind == "llama" else NONE
        found: int = metadata.get(f"tokenizer.ggml.{name}_token_id", default)
        return NONE if found == UNSIGNED_NONE else found

    begins = metadata.get("tokenizer.ggml.add_bos_token", kind == "llama")
    begin, end = number("bos") if begins else NONE, number("eos")
    return _with_special(rust, number("padding"), number("unknown"), begin, end, where)


def _typed_tokens(metadata: Mapping[str, Any]) -> list[tuple[str, int]]:
    types = metadata.get("tokenizer.ggml.token_type", [])
    return list(zip(metadata["tokenizer.ggml.tokens"], types, strict=False))


def _byte_level(metadata: Mapping[str, Any], where: object) -> Rust:
    cut = metadata.get("tokenizer.ggml.pre", "default")
    if cut not in CUTS:
        raise ConfigError(
            f"a tokenizer of model 'gpt2', pre '{cut}', cannot be read from GGUF",
            where=where,
            remedy=f"give a model with one of {', '.join(CUTS)}, or a Hugging Face folder of it",
        )
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    rust = Rust(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    rust.pre_tokenizer = _cutter(CUTS[cut])
    rust.decoder = decoders.ByteLevel()
    return rust


def _sentencepiece(metadata: Mapping[str, Any], where: object) -> Rust:
    tokens = metadata["tokenizer.ggml.tokens"]
    types = _typed_tokens(metadata)
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", SENTENCEPIECE_IDS["unknown"])
    # User-defined tokens are found before anything is merged.
    closed = {token for token, type_ in types if type_ in (UNKNOWN, CONTROL, BYTE, USER_DEFINED)}
    return build_sentencepiece(
        tokens,
        metadata["tokenizer.ggml.scores"],
        closed,
        tokens[unknown] if 0 <= unknown < len(tokens) else None,
        prefix=metadata.get("tokenizer.ggml.add_space_prefix", True),
        where=where,
    )


def _cutter(cut: str | None) -> pre_tokenizers.PreTokenizer:
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut in (None, "digits"))
    if cut is None:
        return own
    before: pre_tokenizers.PreTokenizer = pre_tokenizers.Digits(individual_digits=True)
    if cut != "digits":
        before = pre_tokenizers.Split(Regex(cut), "isolated")
    return pre_tokenizers.Sequence([before, own])


def to_gguf(tokenizer: Tokenizer) -> dict[str, Any]:
    """The metadata of a GGUF file that say how text becomes tokens.

    Raises:
        ConfigError: llama.cpp does not cut text as this tokenizer does.
    """
    specification = json.loads(tokenizer.to_json())
    cut = next((name for name, rule in CUTS.items() if _cuts_so(specification, rule)), None)
    if specification["model"]["type"] != "BPE" or cut is None:
        raise ConfigError(
            f"a tokenizer of kind '{tokenizer.kind}' that cuts text this way has no form in GGUF",
            remedy="train with tokenizer.kind=bpe tokenizer.byte_level=true",
        )
    added = {token["id"]: token["special"] for token in specification["added_tokens"]}
    special = tokenizer.special
    ids = {"bos": special.bos, "eos": special.eos, "unknown": special.unk, "padding": special.pad}
    merges = specification["model"]["merges"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": cut,
        "tokenizer.ggml.tokens": tokenizer.tokens(),
        "tokenizer.ggml.token_type": [
            {None: 1, True: CONTROL, False: USER_DEFINED}[added.get(number)]
            for number in range(len(tokenizer))
        ],
        "tokenizer.ggml.merges": [
            merge if isinstance(merge, str) else " ".join(merge) for merge in merges
        ],
        "tokenizer.ggml.add_bos_token": special.bos != NONE,
        **{
            f"tokenizer.ggml.{name}_token_id": number
            for name, number in ids.items()
            if number != NONE
        },
    }


def _cuts_so(specification: Mapping[str, Any], rule: str | None) -> bool:
    return bool(specification["pre_tokenizer"] == json.loads(_rule_json(rule)))


def _rule_json(rule: str | None) -> str:
    empty = Rust(models.BPE())
    empty.pre_tokenizer = _cutter(rule)
    return json.dumps(json.loads(empty.to_str())["pre_tokenizer"])


def from_folder(folder: Path) -> Tokenizer:
    """The tokenizer of a Hugging Face folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / "tokenizer.json"
    try:
        rust = Rust.from_str(path.read_text(encoding="utf-8"))
        around = rust.encode("", add_special_tokens=True).ids
    except FileNotFoundError:
        raise CheckpointError(
            "this folder has no tokenizer.json", where=path, remedy="get the model with it"
        ) from None
    # The Rust library raises bare `Exception` for whatever it cannot parse, and what is no
    # `Exception` at all for a template whose tokens are not there.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        raise CheckpointError(
            f"the tokenizer cannot be read: {error}", where=path, remedy="get the model again"
        ) from None
    # What is cut or padded is decided where texts are read, not here.
    rust.no_truncation()
    rust.no_padding()
    settings = typed(read_settings(folder / SETTINGS), TOKENS, folder / SETTINGS)
    model: dict[str, Any] = {}
    for file in ("config.json", "generation_config.json"):
        model |= typed(read_settings(folder / file), IDS, folder / file)

    def number(name: str) -> int:
        token = settings.get(f"{name}_token")
        found = None if token is None else rust.token_to_id(token)
        return int(model.get(f"{name}_token_id", NONE)) if found is None else found

    begin, end, padding = number("bos"), number("eos"), number("pad")
    if begin == NONE and end == NONE:  # BERT's
        begin, end = number("cls"), number("sep")
    if begin not in around:
        begin = NONE
    if model.get("is_encoder_decoder"):  # what its decoder reads first
        begin = number("decoder_start")
    return _with_special(rust, padding, number("unk"), begin, end, folder)


def _with_special(
    rust: Rust, padding: int, unknown: int, begin: int, end: int, where: object
) -> Tokenizer:
    """A tokenizer with these special ids, NONE for those that it has not.

    Raises:
        CheckpointError: there is no token of such an id.
    """
    ids = {"padding": padding, "unknown": unknown, "bos": begin, "eos": end}
    for name, number in ids.items():
        if number != NONE and (number < 0 or rust.id_to_token(number) is None):
            raise CheckpointError(
                f"its {name} token is {number}, which its vocabulary of "
                f"{rust.get_vocab_size():,} tokens does not have",
                where=where,
                remedy="get the model again",
            )
    return Tokenizer(rust, SpecialIds(end if padding == NONE else padding, unknown, begin, end))


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object out of a file that a folder may lack; empty if it does."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}

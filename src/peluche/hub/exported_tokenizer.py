"""Tokenizers in the folders that `transformers` reads. It need not be installed for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peluche.data.span_corruption import SENTINEL
from peluche.hub.exported import write_json
from peluche.text.tokenizer import MASKS, Tokenizer

# The most tokens that a model without an end is said to read.
ENDLESS = 1_000_000


def write_tokenizer(
    tokenizer: Tokenizer,
    folder: Path,
    length: int,
    *,
    begins: bool = True,
    ends: bool = True,
    settings: Mapping[str, Any] = {},
) -> None:
    """`tokenizer.json` and what `transformers` wants to know beside it.

    Args:
        length: of the longest text, in tokens.
        begins, ends: whether [BOS] stands before each text, and [EOS] after it.
        settings: of `tokenizer_config.json`, in place of the usual ones.
    """
    specification = json.loads(tokenizer.to_json())
    before = [tokenizer.bos_id] * (begins and tokenizer.bos_id >= 0)
    after = [tokenizer.eos_id] * (ends and tokenizer.eos_id >= 0)
    if before or after:
        names = {number: tokenizer.token(number) for number in (*before, *after)}
        specification["post_processor"] = _template(before, after, names)
    for token in specification["added_tokens"]:
        # The space before a word belongs to it, so to what is hidden.
        token["lstrip"] |= token["content"].startswith((*MASKS, SENTINEL.partition("{")[0]))
    write_json(folder / "tokenizer.json", specification)
    marks = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    given = {f"{name}_token": tokenizer.token(id) for name, id in marks.items() if id >= 0}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **given,
            "model_max_length": length,
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
            # A text that spells "[EOS]" does not end there; but [MASK], sentinels and what a chat
            # template writes have to be spelt.
            "split_special_tokens": not tokenizer.special_ids - set(tokenizer.special[:4]),
            **settings,
        },
    )


def _template(before: list[int], after: list[int], names: Mapping[int, str]) -> dict[str, Any]:
    """[BOS] A [EOS], and [BOS] A [EOS] B [EOS] of pairs, whose second text is segment 1."""

    def special(numbers: list[int], segment: int) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": names[n], "type_id": segment}} for n in numbers]

    first, second = (
        [{"Sequence": {"id": name, "type_id": segment}}] for segment, name in enumerate("AB")
    )
    alone = [*special(before, 0), *first, *special(after, 0)]
    return {
        "type": "TemplateProcessing",
        "single": alone,
        "pair": [*alone, *second, *special(after, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]}
            for number, token in names.items()
        },
    }

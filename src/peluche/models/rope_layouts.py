"""Settings of rotary positions in a config.json of `transformers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peluche.models.layouts import require

Values = dict[str, Any]

# What their rope_type is called here, and where its settings are.
SCALINGS = {
    "linear": ("linear", {"factor": "factor"}),
    "yarn": (
        "yarn",
        {
            "factor": "factor",
            "original_max_position_embeddings": "original_length",
            "beta_fast": "fast",
            "beta_slow": "slow",
            "attention_factor": "attention",
        },
    ),
    "llama3": (
        "llama3",
        {
            "factor": "factor",
            "original_max_position_embeddings": "original_length",
            "low_freq_factor": "low",
            "high_freq_factor": "high",
        },
    ),
}


def read_rope(theirs: Mapping[str, Any], key: str | None = None) -> Values:
    """Our settings of RoPE, from `rope_parameters`, or from `rope_theta` and `rope_scaling`.

    Args:
        theirs: a config.json, of today or of years ago.
        key: which of several, for models whose layers differ.

    Raises:
        ConfigError: there is no equal here.
    """
    given = theirs.get("rope_parameters")
    given = given or {
        "rope_theta": theirs.get("rope_theta", 10_000.0),
        **(theirs.get("rope_scaling") or {}),
    }
    if key is not None:
        given = given[key]
    kind = given.get("rope_type", given.get("type", "default"))
    require(given.get("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor is not 1")
    rope: Values = {"base": given.get("rope_theta", theirs.get("rope_theta", 10_000.0))}
    if kind == "default":
        return rope
    require(kind in SCALINGS, f"rope_type is '{kind}'")
    for unknown in ("mscale", "mscale_all_dim", "truncate"):
        require(unknown not in given, f"rope_parameters has {unknown}")
    name, settings = SCALINGS[kind]
    values = {own: given[other] for other, own in settings.items() if given.get(other) is not None}
    if "original_max_position_embeddings" in settings:
        values.setdefault("original_length", theirs["max_position_embeddings"])
    return {**rope, "scaling": {"kind": name, **values}}


def write_rope(rope: Mapping[str, Any]) -> Values:
    """`rope_parameters` of our settings.

    Raises:
        ConfigError: a scaling that they do not have.
    """
    written: Values = {"rope_theta": rope["base"], "rope_type": "default"}
    scaling = rope.get("scaling")
    if scaling is None:
        return written
    require(scaling["kind"] in SCALINGS, f"model.rope.scaling is '{scaling['kind']}'")
    kind, settings = SCALINGS[scaling["kind"]]
    values = {other: scaling[own] for other, own in settings.items() if scaling[own] is not None}
    return {**written, "rope_type": kind, **values}

"""The base of every configuration: frozen, strict, and helpful when it refuses."""

from __future__ import annotations

import reprlib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from peluche.errors import ConfigError, DataError, did_you_mean, nearest

# The same as SafeLoader, ten times faster, where PyYAML was built with its C library.
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# How alike a key has to be to one in another place, and how many such places are named.
VERY_NEAR, MOST_PLACES = 0.8, 6
DEEPEST = 5  # keys in keys that are looked at


class Config(BaseModel):
    """A frozen record that describes one buildable thing.

    Unknown keys and impossible combinations are refused at construction. `parse` turns what
    pydantic reports into one `ConfigError` that names the key and, for a key that is not known,
    the nearest one that is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Build from plain values, e.g. parsed YAML.

        Raises:
            ConfigError: for unknown keys, wrong types and impossible combinations.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise config_error(cls, error, where) from None


def kind_unless_given(kind: str) -> BeforeValidator:
    """Of a union discriminated by `kind`: which one is meant where none is named."""
    return BeforeValidator(
        lambda values: {"kind": kind, **values} if isinstance(values, Mapping) else values
    )


def parse_as(kind: Any, values: Any, *, where: str | None = None) -> Any:
    """`Config.parse` for a type that is not one class, e.g. a union discriminated by `kind`."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise config_error(kind, error, where) from None


def typed(
    values: Mapping[str, Any], kinds: Mapping[str, Any], where: object, inside: str = ""
) -> dict[str, Any]:
    """The values of another library's file, those of `kinds` found to be what they ought to be.

    A value that is null counts as absent; keys that `kinds` does not have are let through.

    Args:
        kinds: the type of each key that is read, with pydantic's constraints; or the kinds of the
            object that it is.
        where: the file, for messages.
        inside: what stands before the keys in messages.

    Raises:
        ConfigError: a value is of another type.
    """
    found = {key: value for key, value in values.items() if value is not None or key not in kinds}
    for key in found.keys() & kinds.keys():
        kind, place = kinds[key], f"{inside}{key}"
        nested = isinstance(kind, Mapping)
        try:
            value = TypeAdapter(dict[str, Any] if nested else kind).validate_python(
                found[key], strict=True
            )
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (place, *first["loc"])))
            raise ConfigError(
                f"{place} is {reprlib.repr(first['input'])}: {first['msg']}",
                where=where,
                remedy="get the model again",
            ) from None
        found[key] = typed(value, kind, where, f"{place}.") if nested else value
    return found


def parse_yaml(text: str) -> Any:
    """The values that a YAML text describes.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_YamlLoader)
    except UnicodeEncodeError as error:  # bytes of a command line that are no text
        raise yaml.YAMLError(str(error)) from None


def read_yaml(path: Path, what: str, known: Iterable[str] = ()) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        what: the file is to be, for errors: "recipe".
        known: names among which a near one is suggested if the file does not exist.

    Raises:
        ConfigError: there is no such file, or it does not hold keys and values.
        DataError: it cannot be read.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {what} file {path}", remedy=did_you_mean(path.stem, known)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"the {what} is not YAML", where=f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"the {what} is not a list of keys and values", where=path)
    return values


def config_error(kind: Any, error: ValidationError, where: str | None) -> ConfigError:
    """One `ConfigError` for all that a validation found."""
    found, remedies = [], []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if not _is_tag(part, kind))
        if item["type"] == "extra_forbidden":
            found.append(f"unknown key '{key}'")
            remedies.append(_meant(kind, item["loc"]))
        elif item["type"] == "union_tag_invalid":
            tag, known = item["ctx"]["tag"], item["ctx"]["expected_tags"].replace("'", "")
            found.append(f"{key}: unknown kind '{tag}'".removeprefix(": "))
            remedies.append(did_you_mean(tag, known.split(", ")))
        elif item["type"] == "union_tag_not_found":
            found.append(f"missing key '{f'{key}.kind'.removeprefix('.')}'")
            remedies.append("say which kind it is")
        elif item["type"] == "missing":
            found.append(f"missing key '{key}'")
            remedies.append(f"give '{key}' a value")
        else:
            message = item["msg"].removeprefix("Value error, ")
            found.append(f"{key}: {message}" if key else message)
            if "input" in item and not isinstance(item["input"], dict | BaseModel):
                remedies.append(f"'{key}' is {item['input']!r} now")
    return ConfigError(
        "; ".join(found), where=where, remedy="; ".join(dict.fromkeys(remedies)) or None
    )


def _meant(kind: Any, location: tuple[Any, ...]) -> str:
    """What to do about a key that is unknown at a location of pydantic's error report."""
    here, last = _fields_at(kind, location[:-1]), str(location[-1])
    listing, places = ", ".join(sorted(here)), _places(kind)
    names = here | {place.rpartition(".")[2] for place in places}
    alike = nearest(last, sorted(names), VERY_NEAR)
    if alike is not None and alike not in here:
        own = ".".join(str(part) for part in location if not _is_tag(part, kind))
        found = [place for place in places if place.rpartition(".")[2] == alike and place != own]
        least = min((place.count(".") for place in found), default=0)
        nearby = [f"'{place}'" for place in found if place.count(".") == least]
        if nearby:
            return f"did you mean {' or '.join(nearby[:MOST_PLACES])}?"
        return f"another kind has it, this one does not (keys here: {listing})"
    close = nearest(last, here)
    if close:
        return f"did you mean '{close}'? (keys here: {listing})"
    return f"remove it (keys here: {listing})"


def _places(kind: Any) -> list[str]:
    """Every key of a config and of the configs in it, as `a.b.c`, the outer ones first."""
    found: dict[str, None] = {}
    waiting = [("", model) for model in _models_in(kind)]
    for prefix, model in waiting:
        for name, field in model.model_fields.items():
            found[f"{prefix}{name}"] = None
            # Configs in lists have no such key; one in itself would have them without end.
            listed = get_origin(field.annotation) in (list, tuple)
            if not listed and prefix.count(".") < DEEPEST:
                waiting += [(f"{prefix}{name}.", inner) for inner in _models_in(field.annotation)]
    return list(found)


def _is_tag(part: Any, kind: Any) -> bool:
    """Whether a location part is a discriminator value, which users do not write as a key."""
    return isinstance(part, str) and part in _all_tags(kind, set())


def _all_tags(kind: Any, seen: set[Any]) -> set[str]:
    tags: set[str] = set()
    for model in _models_in(kind):
        if model in seen:
            continue
        seen.add(model)
        field = model.model_fields.get("kind")
        if field is not None:
            tags |= {value for value in get_args(field.annotation) if isinstance(value, str)}
        for inner in model.model_fields.values():
            tags |= _all_tags(inner.annotation, seen)
    return tags - {name for model in seen for name in model.model_fields}


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) in (Union, types.UnionType, Annotated, list, tuple, dict):
        return [model for part in get_args(kind) for model in _models_in(part)]
    return []


def _fields_at(kind: Any, location: tuple[Any, ...]) -> set[str]:
    """Field names of the config(s) at a location of pydantic's error report."""
    models = _models_in(kind)
    for part in location:
        if not isinstance(part, str):
            continue
        tagged = (
            [m for m in models if part in get_args(m.model_fields["kind"].annotation)]
            if all("kind" in m.model_fields for m in models)
            else []
        )
        if tagged:
            models = tagged
            continue
        models = [
            inner
            for model in models
            if part in model.model_fields
            for inner in _models_in(model.model_fields[part].annotation)
        ]
    return {name for model in models for name in model.model_fields}

"""A corpus of the catalogue as a source: what sources of every kind of example share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from peluche.config import parse_as
from peluche.data.catalogue import FileVariant, Gives, Variant, find_entry
from peluche.data.locate import provide
from peluche.data.selection import Selection
from peluche.errors import ConfigError


class FromCatalogue(Selection):
    """A corpus of the catalogue, found on this machine or downloaded.

    Attributes:
        name: of the entry.
        split: train, validation or test.
        variant: of the entry; the first that gives the wanted examples without it.
    """

    gives: ClassVar[Gives]

    kind: Literal["catalogue"] = "catalogue"
    name: str
    split: str = "train"
    variant: str | None = None

    @model_validator(mode="after")
    def _the_catalogue_has_it(self) -> Self:
        try:
            self.chosen()
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.remedy}") from None
        return self

    def chosen(self) -> Variant:
        """The variant of the entry."""
        return find_entry(self.name).variant(self.variant, self.split, gives=self.gives)

    def of_file(self, kinds: Any) -> Iterator[Any]:
        """The examples of the split as its file has them, before any selection.

        Args:
            kinds: the union of the sources that read files; the entry says which of them to take.
        """
        variant = self.chosen()
        assert isinstance(variant, FileVariant)
        path = provide(self.name, variant.paths(self.split)[0])
        source = parse_as(kinds, {**variant.source, "path": path}, where=f"entry {self.name}")
        return variant.of_split(self.split, source.examples())

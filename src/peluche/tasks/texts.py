"""What tasks share that are measured on plain texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peluche.config import parse_as
from peluche.data.text_parts import Texts
from peluche.data.text_sources import PlainTextSource
from peluche.data.texts import text_file
from peluche.errors import ConfigError, DataError
from peluche.tasks.evaluation import Evaluable


class TextTask(Evaluable):
    """Takes a file of texts, read as the run's own are unless it says else."""

    def source(self, names: Sequence[str], **options: Any) -> Texts:
        """See `Evaluable.source`. A file that is not of the run's kind is one text."""
        if len(names) > 1:
            raise DataError(f"{len(names)} names given", remedy="give one file")
        options = {key: value for key, value in options.items() if value is not None}
        if set(options) - {"encoding", "limit"}:
            raise ConfigError(
                f"a text has no {', '.join(sorted(set(options) - {'encoding', 'limit'}))}",
                remedy="leave it out",
            )
        values = text_file(names[0], self.like(names)) if names else self.like(names)
        found: Texts = parse_as(PlainTextSource, {**values, **options}, where=" ".join(names))
        return found

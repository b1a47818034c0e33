"""Forking a process whose tokenizer has already used its threads.

The threads do not survive in the child, where using them would wait for ever, so the `tokenizers`
library turns them off there and prints a warning, unless TOKENIZERS_PARALLELISM is set. Data
loaders fork all the time: the child is told beforehand to do without threads, silently.
"""

from __future__ import annotations

import os

_VARIABLE = "TOKENIZERS_PARALLELISM"
_set_by_us = False


def _before() -> None:
    global _set_by_us
    _set_by_us = _VARIABLE not in os.environ
    if _set_by_us:
        os.environ[_VARIABLE] = "false"


def _after_in_parent() -> None:
    if _set_by_us:
        os.environ.pop(_VARIABLE, None)


def silence_forks() -> None:
    """Arrange this for all later forks of this process. To be called once."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent)

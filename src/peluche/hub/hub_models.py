"""Models of the Hugging Face hub by `hf:OWNER/NAME`, `…@REVISION` or `hf:OWNER/NAME/FILE.gguf`.

Weights in safetensors or GGUF, settings and tokenizers are fetched into the cache, and found there
from then on; nothing that could be run is. Needs the package `huggingface_hub`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from peluche import files
from peluche.data.locate import cache_folder
from peluche.errors import ConfigError, DownloadError, MissingExtraError
from peluche.hub.failure import explain_failure

PREFIX = "hf:"
NAME = re.compile(r"([\w.-]+/[\w.-]+?)(?:/([\w./-]+\.gguf))?(?:@([\w./-]+))?")
# Of a folder: what models and tokenizers are read from.
READ = ("*.safetensors", "*.safetensors.index.json", "*.json", "vocab.txt", "merges.txt")
BESIDE = ("1_Pooling/config.json",)


class HubModel(NamedTuple):
    """What an argument names.

    Attributes:
        file: a GGUF file of it, or None for the folder.
        revision: a branch, tag or commit, or None for the newest.
    """

    name: str
    file: str | None
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> HubModel:
        """Read an argument that begins with `hf:`.

        Raises:
            ConfigError: it is not written so.
        """
        found = NAME.fullmatch(text.removeprefix(PREFIX))
        if found is None or ".." in text:
            raise ConfigError(
                f"'{text}' is no model of the Hugging Face hub",
                remedy="write hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME/FILE.gguf",
            )
        return cls(found[1], found[2], found[3])

    @property
    def path(self) -> Path:
        """Where it is kept."""
        folder = f"{self.name}@{self.revision}" if self.revision else self.name
        kept = cache_folder() / "models" / "hub" / folder.replace("/", "--")
        return kept / self.file if self.file else kept

    def wants(self, file: str) -> bool:
        """Whether a file is read from."""
        if self.file is not None:
            return file == self.file
        return file in BESIDE or ("/" not in file and any(fnmatch(file, each) for each in READ))


def pull_from_hub(text: str, say: Callable[[str], None], *, newest: bool = False) -> Path:
    """Where a model is, fetched if it is not on this machine.

    Args:
        newest: ask the hub even so.

    Raises:
        ConfigError: it is not written as a model of the hub.
        MissingExtraError: `huggingface_hub` is not installed.
        DownloadError: it cannot be fetched, or is not what the hub says it is.
    """
    model = HubModel.parse(text)
    if model.path.exists() and not newest:
        return model.path
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise MissingExtraError(
            "models of the Hugging Face hub need the package huggingface_hub",
            remedy="pip install 'peluche[hub]'",
        ) from None
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with _asking(text):
        found = api.model_info(model.name, revision=model.revision, files_metadata=True)
    wanted = [each for each in found.siblings or [] if model.wants(each.rfilename)]
    if not any(each.rfilename.endswith((".safetensors", ".gguf")) for each in wanted):
        raise DownloadError(
            f"{text} has no weights in safetensors" + (", nor such a file" if model.file else ""),
            where=model.name,
            remedy="give another model, or one of its GGUF files as hf:OWNER/NAME/FILE.gguf",
        )
    return _fetched(api, model, str(found.sha), wanted, say)


@contextmanager
def _asking(text: str) -> Iterator[None]:
    """Turn what `huggingface_hub` raises into a `DownloadError`; what a disk raises stays."""
    try:
        yield
    # Each way to fail has an exception of its own, from that library or from those below it.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DownloadError(
            f"{text} could not be fetched: {reason}",
            where=text,
            remedy="see that the name is right and the hub can be reached (HF_TOKEN for models "
            "that ask for it), or put the model's files into a folder and give that",
        ) from None


def _fetched(
    api: Any, model: HubModel, commit: str, wanted: list[Any], say: Callable[[str], None]
) -> Path:
    size = sum(each.size or 0 for each in wanted)
    folder = model.path.parent if model.file else model.path
    # What was fetched before an interruption is not fetched again.
    scratch = folder.with_name(f".{folder.name}")
    with explain_failure(model.name, folder.parent, 2 * size, lambda: "it goes on where it was"):
        scratch.mkdir(parents=True, exist_ok=True)
        for each in wanted:
            say(f"fetching {each.rfilename} of {model.name}: {(each.size or 0) / 1e6:.1f} MB")
            with _asking(model.name):
                path = Path(
                    api.hf_hub_download(
                        model.name, each.rfilename, revision=commit, local_dir=scratch
                    )
                )
            if each.lfs is not None and (sha := files.sha256(path)) != each.lfs.sha256:
                path.unlink()
                raise DownloadError(
                    f"{each.rfilename} is not the expected one: SHA-256 is {sha}, should be "
                    f"{each.lfs.sha256}",
                    where=model.name,
                    remedy="give the command again",
                )
        shutil.rmtree(scratch / ".cache", ignore_errors=True)
        if model.file and folder.exists():
            model.path.parent.mkdir(parents=True, exist_ok=True)
            (scratch / model.file).replace(model.path)
            shutil.rmtree(scratch)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
    return model.path

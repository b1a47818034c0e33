"""Texts tokenised into shards: the same whatever does it, made once, kept when killed, checked."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import islice

import numpy as np
import pytest

from peluche.data.infilling import INFILLING, Infilling, InfillingConfig
from peluche.data.packing import PackedStream, PackingConfig
from peluche.data.text_parts import Texts
from peluche.data.text_sources import Mixture
from peluche.data.texts import TextFile
from peluche.data.token_store import pack
from peluche.data.tokenization import PlainTokenization, tokenizer_sum
from peluche.errors import DataError
from peluche.text.tokenizer import SpecialIds, Tokenizer, TokenizerConfig

LINES = [f"line {number} of élan" for number in range(200)]


@pytest.fixture
def encoding():
    return PlainTokenization(TokenizerConfig(kind="character").build(LINES))


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Three files, read in many parts."""
    for number in range(3):
        lines = LINES[number * 70 : number * 70 + 70]
        (tmp_path / f"{number}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    plan = Texts.plan
    monkeypatch.setattr(Texts, "plan", lambda self, size=1000: plan(self, size))
    return TextFile(path=tmp_path / "*.txt")


def all_tokens(packed):
    return packed.tokens.read(0, len(packed.tokens)).tolist()


def expected(encoding):
    return [token for ids in encoding(LINES) for token in ids]


def test_what_is_written_is_read(source, encoding, tmp_path):
    packed = pack(source, tmp_path / "tokens", encoding)
    assert len(packed.tokens.bounds) - 1 == 6
    assert all_tokens(packed) == expected(encoding)
    assert (packed.documents, packed.bytes) == (200, sum(len(s.encode()) for s in LINES))
    # Rows go over the ends of shards; [BOS] is nothing to say.
    batches = PackedStream(packed.tokens, PackingConfig(length=40, tokens=400)).once()
    said = [token for batch in batches for token in batch.labels[batch.valid].tolist()]
    assert said == [token for token in expected(encoding) if token != encoding.tokenizer.bos_id]


def test_long_texts_are_encoded_by_themselves(tmp_path):
    sizes = []

    class Counting(PlainTokenization):
        def __call__(self, texts, first=0):
            sizes.append((first, len(texts)))
            return [[2, 3]] * len(texts)

    lines = ["short"] * 300 + ["long " * 900_000] * 2
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    tokenization = Counting(TokenizerConfig(kind="byte").build([]))
    packed = pack(TextFile(path=tmp_path / "lines.txt"), tmp_path / "tokens", tokenization)
    assert sizes == [(0, 256), (256, 45), (301, 1)]
    assert packed.documents == 302


def test_processes_make_the_same(source, tmp_path):
    """Where a text is cut does not depend on what tokenises it, nor when."""
    tokenizer = TokenizerConfig(kind="character", special=INFILLING).build(LINES)
    encoding = Infilling(InfillingConfig(), tokenizer, seed=1)
    one, two = (pack(source, tmp_path / f"{n}", encoding, workers=n) for n in (1, 2))
    assert all_tokens(one) == all_tokens(two)
    assert one[1:] == two[1:]
    assert len(one.tokens) > len(expected(PlainTokenization(tokenizer)))


def test_made_once_and_again_when_something_changes(source, encoding, tmp_path):
    said = []
    folder = tmp_path / "tokens"

    def made(source, encoding):
        said.clear()
        pack(source, folder, encoding, say=said.append)
        return any(line.startswith("tokenised") for line in said)

    assert made(source, encoding)
    assert not made(source, encoding)
    assert "are tokenised already" in said[0]
    lower = PlainTokenization(TokenizerConfig(kind="character", lowercase=True).build(LINES))
    assert made(source, lower)
    assert not made(source, encoding)
    assert made(source.model_copy(update={"slice": (0, 0.5)}), encoding)
    os.utime(tmp_path / "1.txt", ns=(1, 1))
    assert made(source, encoding)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "record"])
def test_a_damaged_shard_is_made_again(source, encoding, tmp_path, damage):
    pack(source, tmp_path / "tokens", encoding)
    shard = sorted((tmp_path / "tokens").glob("*/*.tokens"))[2]
    content = shard.read_bytes()
    if damage == "flip":
        shard.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "cut":
        shard.write_bytes(content[:-2])
    elif damage == "remove":
        shard.unlink()
    else:
        shard.with_suffix(".json").write_text('{"tokens": 3', encoding="utf-8")
    said = []
    packed = pack(source, tmp_path / "tokens", encoding, say=said.append)
    assert said[1].startswith("tokenised 1 of 1 parts")
    assert shard.read_bytes() == content
    assert all_tokens(packed) == expected(encoding)


def test_tokens_with_other_marks_are_kept_apart():
    tokenizer = TokenizerConfig(kind="character").build(LINES)
    marks = [SpecialIds(3, -1, begin, 3) for begin in (-1, 2)]
    others = [Tokenizer(tokenizer._rust, special) for special in marks]
    assert len({tokenizer_sum(one) for one in (tokenizer, *others)}) == 3


def test_tokens_of_another_tokenizer_are_refused(source, encoding, tmp_path):
    pack(source, tmp_path / "tokens", encoding)
    (about,) = (tmp_path / "tokens").glob("*/store.json")
    values = json.loads(about.read_bytes())
    about.write_text(json.dumps(values | {"tokenizer": "0"}), encoding="utf-8")
    with pytest.raises(DataError, match="another tokenizer") as error:
        pack(source, tmp_path / "tokens", encoding)
    assert "delete that folder" in str(error.value)
    about.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="another description"):
        pack(source, tmp_path / "tokens", encoding)


KILLED = """
import sys, time
from pathlib import Path
from peluche.data import shards
from peluche.data.tokenization import PlainTokenization
from peluche.data.text_parts import Texts
from peluche.data.texts import TextFile
from peluche.data.token_store import pack
from peluche.text.tokenizer import TokenizerConfig

class Slow(PlainTokenization):
    def __call__(self, texts, first=0):
        time.sleep(0.5)
        return super().__call__(texts, first)

if __name__ == "__main__":
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    lines = (folder / "lines").read_text(encoding="utf-8").split("\\n")
    whole = Texts.plan
    Texts.plan = lambda self, size=1000: whole(self, size)
    encoding = Slow(TokenizerConfig(kind="character").build(lines))
    pack(TextFile(path=folder / "*.txt"), folder / "tokens", encoding, workers)
"""


def alive(marker):
    """Processes of this machine with the marker in their environment."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/environ", "rb") as stream:
                found += [int(process)] * (marker in stream.read())
        except OSError:
            pass
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_killed_it_goes_on_where_it_was(source, encoding, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED, encoding="utf-8")
    (tmp_path / "lines").write_text("\n".join(LINES), encoding="utf-8")
    marker = str(tmp_path)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "killed.py", tmp_path, "2"],
        env={**os.environ, "MARKER": marker},
    )
    while not (recorded := list((tmp_path / "tokens").glob("*/[0-9]*.json"))):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while alive(marker.encode()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(marker.encode())
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "tokens").glob("*/*.tokens")}
    recorded = list((tmp_path / "tokens").glob("*/[0-9]*.json"))
    said = []
    packed = pack(source, tmp_path / "tokens", encoding, say=said.append)
    kept = int(said[0].split()[0])
    assert kept == len(recorded) >= 1
    assert kept < len(packed.tokens.bounds) - 1
    unchanged = [path for path, when in done.items() if path.stat().st_mtime_ns == when]
    assert len(unchanged) == kept
    assert all_tokens(packed) == expected(encoding)
    assert not list((tmp_path / "tokens").rglob(".*.tmp"))


def test_a_full_disk_keeps_what_is_done(source, encoding, tmp_path):
    (tmp_path / "3.txt").write_bytes(gzip.compress(b"long " * 2000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(DataError, match="cannot write tokens") as error:
            pack(source, tmp_path / "tokens", encoding)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in str(error.value)
    assert "are free" in str(error.value)
    said = []
    packed = pack(source, tmp_path / "tokens", encoding, say=said.append)
    assert int(said[0].split()[0]) == len(packed.tokens.bounds) - 2
    assert not list((tmp_path / "tokens").rglob(".*.tmp"))


class Deadly(PlainTokenization):
    """Kills the process that it arrives in."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_worker_that_is_killed(source, encoding, tmp_path):
    with pytest.raises(DataError, match="a process that tokenised was killed") as error:
        pack(source, tmp_path / "tokens", Deadly(encoding.tokenizer), workers=2)
    assert "use fewer of them" in str(error.value)


def test_what_cannot_be_read_is_named(source, encoding, tmp_path):
    with (tmp_path / "2.txt").open("ab") as stream:
        stream.write(b"caf\xe9\n")
    with pytest.raises(DataError, match="not utf-8") as error:
        pack(source, tmp_path / "tokens", encoding, workers=2)
    assert error.value.where.startswith("2.txt:61,")


def test_nothing_to_read(tmp_path, encoding):
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    said = []
    with pytest.raises(DataError, match="no text to learn from"):
        pack(TextFile(path=tmp_path / "empty.txt"), tmp_path / "tokens", encoding, say=said.append)
    assert said[-1] == "left out 2 empty texts"


def test_a_mixture(tmp_path, encoding):
    for name, count in (("a", 50), ("o", 10)):
        (tmp_path / name).write_text(f"line {name}\n" * count, encoding="utf-8")
    sources = [
        {"weight": weight, "source": {"path": str(tmp_path / name)}}
        for name, weight in (("a", 1), ("o", 3))
    ]
    mixture = Mixture.parse({"sources": sources})
    packed = pack(mixture, tmp_path / "tokens", encoding)
    assert packed.documents == 60
    assert len(list((tmp_path / "tokens").iterdir())) == 2
    stream = PackedStream(packed.tokens, PackingConfig(length=8, tokens=80))
    epoch = islice(stream.batches(), stream.batches_per_epoch())
    said = np.concatenate([batch.tokens.flatten().numpy() for batch, _ in epoch])
    a, o = (int((said == encoding.tokenizer.id(name)).sum()) for name in "ao")
    assert o / (a + o) == pytest.approx(0.75, abs=0.05)
    only = {str(path): path.stat() for path in (tmp_path / "tokens").rglob("*.tokens")}
    assert len(only) == 2

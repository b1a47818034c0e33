"""The commands that README.md and docs/ show can be run as they stand there.

Each page is one test: its blocks of bash run in order in an empty folder with a small trained run
in runs/quickstart. A block preceded by `<!-- not run: reason -->` is passed over.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST = 60.0

BLOCK = re.compile(
    r"^(?:<!-- not run: *(?P<reason>(?:(?!-->).)*?) *-->\s*\n)?```bash\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
TINY_RUN = """
    training.steps=30 training.evaluate_every=15 model.d_model=32 model.layers=1 model.heads=2
    model.d_ff=64 data.train.size=400 data.validation.size=20 data.test.size=20
    tokenizer.vocab_size=400 batching.tokens=1024 decoding.max_length=40
"""


class Block(NamedTuple):
    """A block of bash: the line of its page, the commands, and why not to run them, if so."""

    line: int
    text: str
    reason: str | None


def blocks(page: str) -> list[Block]:
    return [
        Block(page.count("\n", 0, match.start("text")) + 1, match["text"], match["reason"])
        for match in BLOCK.finditer(page)
    ]


def run_bash(
    text: str, folder: Path, environment: dict[str, str], limit: float = LONGEST
) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """This environment's programs on PATH, an empty cache, and no corpora put there by hand.

    One thread: the models are too small for more, and other processes may be busy.
    """
    found = dict(os.environ)
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found["PATH"]])
    found["PELUCHE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    found["OMP_NUM_THREADS"] = "1"
    found.pop("PELUCHE_DATA", None)
    return found


@pytest.fixture(scope="session")
def quick(environment, warm_program):
    """The same, but `peluche` does not import anything anew for each command."""
    folder = str(warm_program.parent)
    return {**environment, "PATH": os.pathsep.join([folder, environment["PATH"]])}


@pytest.fixture(scope="session")
def trained(tmp_path_factory, quick):
    """A folder with runs/quickstart: the recipe of that name, with next to no model and data."""
    folder = tmp_path_factory.mktemp("trained")
    train = f"peluche train quickstart {' '.join(TINY_RUN.split())}"
    result = run_bash(train, folder, quick, limit=300)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def scratch(tmp_path, trained):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of(page, scratch, environment, quick):
    # The README's as they are typed; the others sooner.
    chosen = environment if page.name == "README.md" else quick
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.reason is not None:
            assert block.reason, f"{where}: say why this block is not run"
            continue
        try:
            result = run_bash(block.text, scratch, chosen)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{where}: took more than {LONGEST:.0f} s; make it smaller or mark it")
        if result.returncode:
            said = f"{block.text}\n{result.stdout}{result.stderr}"
            pytest.fail(f"{where}: exit code {result.returncode}\n{said}")


def test_blocks_are_found():
    page = (
        "# Page\n```bash\necho 1\n# more\n```\n```text\n1\n```\n"
        "<!-- not run: takes hours -->\n```bash\nsleep 9999\n```\n"
        "<!-- not run: -->\n\n```bash\nfalse\n```\n"
        "<!-- not run: not a block of bash -->\n```text\n```\n<!-- -->\n```bash\ntrue\n```\n"
    )
    assert blocks(page) == [
        Block(3, "echo 1\n# more\n", None),
        Block(11, "sleep 9999\n", "takes hours"),
        Block(16, "false\n", ""),
        Block(23, "true\n", None),
    ]


@pytest.mark.parametrize("text", ["false\ntrue\n", "false | cat\n"])
def test_a_failure_inside_a_block_is_seen(text, tmp_path, environment):
    assert run_bash(text, tmp_path, environment).returncode != 0

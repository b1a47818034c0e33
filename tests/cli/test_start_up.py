"""Starting the command imports next to nothing: verbs bring what they need."""

import json
import subprocess
import sys

import pytest

from peluche import __version__

HEAVY = [
    "torch",
    "numpy",
    "tokenizers",
    "sacrebleu",
    "pydantic",
    "yaml",
    "matplotlib",
    "jinja2",
    "rich",
]


@pytest.mark.parametrize(
    ("option", "said"), [("--help", "Usage: peluche"), ("--version", f"peluche {__version__}\n")]
)
def test_the_command_starts_light(option, said):
    code = """
import json, sys
from peluche.cli.main import app
app([sys.argv[1]], prog_name="peluche", standalone_mode=False)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, option], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip().startswith(said.strip())
    loaded = set(json.loads(result.stderr))
    assert "peluche.cli.train" in loaded
    assert loaded.isdisjoint(HEAVY)

"""Starting the command imports next to nothing: verbs bring what they need."""

import json
import subprocess
import sys

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


def test_the_command_starts_light():
    code = "import json, sys, peluche.cli.main; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(result.stdout))
    assert "peluche.cli.train" in loaded
    assert loaded.isdisjoint(HEAVY)

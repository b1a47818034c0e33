"""Starting the command imports next to nothing: verbs bring what they need."""

import json
import subprocess
import sys

import pytest

from peluche import __version__
from peluche.cli import main as program

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


def test_an_interrupted_import_ends_without_a_word():
    code = """
import runpy, sys
class Interrupted:
    def find_spec(self, name, *rest):
        if name == "peluche.cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
runpy.run_module("peluche", run_name="__main__")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_a_file_without_permission_is_one_clear_error(monkeypatch, capsys):
    def refused():
        raise PermissionError(13, "Permission denied", "secret.txt")

    monkeypatch.delenv("PELUCHE_TRACEBACK", raising=False)
    monkeypatch.setattr(program, "app", refused)
    with pytest.raises(SystemExit, match="3"):
        program.main()
    said = capsys.readouterr().err
    assert "permission denied" in said
    assert "where: secret.txt" in said

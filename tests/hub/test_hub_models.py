"""Models of the Hugging Face hub, from a server of this test's own."""

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest

import peluche
from peluche.errors import CheckpointError, ConfigError, DownloadError, MissingExtraError
from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
from peluche.hub.hub_models import HubModel, pull_from_hub
from peluche.models.decoder import DecoderConfig
from peluche.text.tokenizer import TokenizerConfig

COMMIT = "c" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """What the hub answers about one repository, owner/tiny."""

    folder: Path
    asked: list[str]
    lie = False

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        resolve = f"/owner/tiny/resolve/{COMMIT}/"
        if path in ("/api/models/owner/tiny", "/api/models/owner/tiny/revision/v1"):
            siblings = [self.sibling(file) for file in sorted(self.folder.rglob("*"))]
            about = {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}
            self.give(json.dumps(about).encode())
        elif path.startswith(resolve) and (self.folder / path.removeprefix(resolve)).is_file():
            self.give((self.folder / path.removeprefix(resolve)).read_bytes())
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def sibling(self, file: Path) -> dict[str, object]:
        body = file.read_bytes()
        about: dict[str, object] = {"rfilename": file.name, "size": len(body)}
        if file.suffix in (".safetensors", ".gguf", ".bin"):
            sha = hashlib.sha256(body + b"!" * self.lie).hexdigest()
            about["lfs"] = {"sha256": sha, "size": len(body), "pointerSize": 100}
        return about

    def give(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    tokenizer = TokenizerConfig(
        kind="bpe", vocab_size=300, byte_level=True, normalization="none"
    ).build(["the cat sat on the mat"] * 5)
    parts = {"activation": "swiglu", "norm": "rmsnorm", "bias": False}
    config = DecoderConfig(d_model=32, layers=1, heads=2, d_ff=32, **parts)
    weights = config.build(len(tokenizer)).state_dict()
    export_huggingface_decoder(config, weights, tokenizer, folder)
    export_gguf(config, weights, tokenizer, folder / "tiny.gguf")
    (folder / "modeling_tiny.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    kind = type("OneHub", (Hub,), {"folder": folder, "asked": []})
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as running:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_address[1]}")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield kind
        running.shutdown()
        thread.join()


def test_a_model_is_fetched_once_and_nothing_that_runs(hub, capsys):
    expected = peluche.load(hub.folder).complete(["the cat"], max_tokens=5)[0].text
    assert peluche.load("hf:owner/tiny").complete(["the cat"], max_tokens=5)[0].text == expected
    assert "fetching model.safetensors of owner/tiny" in capsys.readouterr().err
    kept = HubModel.parse("hf:owner/tiny").path
    assert {path.suffix for path in kept.iterdir()} == {".json", ".safetensors"}
    count = len(hub.asked)
    peluche.load("hf:owner/tiny")
    assert len(hub.asked) == count
    pull_from_hub("hf:owner/tiny", print, newest=True)
    assert len(hub.asked) > count
    assert {path.suffix for path in kept.iterdir()} == {".json", ".safetensors"}


def test_revisions_and_single_files(hub):
    path = pull_from_hub("hf:owner/tiny@v1", print)
    assert path.name == "owner--tiny@v1"
    assert any(each.startswith("GET /api/models/owner/tiny/revision/v1") for each in hub.asked)
    file = pull_from_hub("hf:owner/tiny/tiny.gguf", print)
    assert file.read_bytes() == (hub.folder / "tiny.gguf").read_bytes()
    assert peluche.load("hf:owner/tiny/tiny.gguf").complete(["the"], max_tokens=2)
    assert not (file.parent / "model.safetensors").exists()


def test_another_file_than_the_hub_promised_is_not_kept(hub):
    hub.lie = True
    with pytest.raises(DownloadError, match="is not the expected one"):
        pull_from_hub("hf:owner/tiny", print)
    assert not HubModel.parse("hf:owner/tiny").path.exists()
    hub.lie = False
    assert pull_from_hub("hf:owner/tiny", print).exists()


def test_what_is_not_there(hub, monkeypatch):
    with pytest.raises(DownloadError, match="hf:owner/other could not be fetched"):
        pull_from_hub("hf:owner/other", print)
    with pytest.raises(DownloadError, match="nor such a file"):
        pull_from_hub("hf:owner/tiny/other.gguf", print)
    for text in ("hf:tiny", "hf:a/../../b", "hf:owner/tiny/code.py"):
        with pytest.raises(ConfigError, match="no model of the Hugging Face hub"):
            pull_from_hub(text, print)
    with pytest.raises(CheckpointError, match="write hf:owner/tiny"):
        peluche.load("owner/tiny")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="could not be fetched"):
        pull_from_hub("hf:owner/tiny", print)


def test_without_the_package(hub, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="huggingface_hub"):
        pull_from_hub("hf:owner/tiny", print)

"""Downloads against a local server that can misbehave in every way that servers do."""

import hashlib
import http.server
import io
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from peluche.data.download import download
from peluche.errors import DownloadError

CONTENT = b"".join(b"line %d\n" % number for number in range(40_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does; `requests` records the headers that it saw."""

    content: bytes = CONTENT
    ranges: bool = True
    wrong_range: bool = False
    etag: str | None = '"v1"'
    cut_after: list[int] = field(default_factory=list)  # bytes to send before hanging up, in turn
    answers: list[int] = field(default_factory=list)  # error codes to send first, in turn
    silent: bool = False
    requests: list[dict[str, str]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        behaviour = self.behaviour
        behaviour.requests.append({"path": self.path, **self.headers})
        if behaviour.silent:
            time.sleep(1)
            return
        if behaviour.answers:
            self.send_error(behaviour.answers.pop(0))
            return
        body, start = behaviour.content, 0
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, behaviour.etag)
        if asked and behaviour.ranges and same:
            start = int(asked[1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            shown = start + 7 if behaviour.wrong_range else start
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[start:]
        if behaviour.etag:
            self.send_header("ETag", behaviour.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: behaviour.cut_after.pop(0)] if behaviour.cut_after else body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    handler = type("OneHandler", (Handler,), {"behaviour": behaviour})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/corpus.gz", behaviour
        running.shutdown()
        thread.join()


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_download(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    destination = tmp_path / "new" / "corpus.gz"
    assert download(url, destination, sha256=SHA256) == destination
    assert destination.read_bytes() == CONTENT
    assert leftovers(destination.parent) == {"corpus.gz"}
    download(url, destination, sha256=SHA256)
    assert len(behaviour.requests) == 1  # the second time nothing is asked for


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_cut_connection_is_resumed(
    server: tuple[str, Behaviour], tmp_path: Path, etag: str | None
) -> None:
    url, behaviour = server
    behaviour.etag = etag
    behaviour.cut_after = [1000, 2000, 0, 3000]
    download(url, tmp_path / "a", sha256=SHA256, pause=0.001)
    assert (tmp_path / "a").read_bytes() == CONTENT
    asked = [request.get("Range") for request in behaviour.requests]
    assert asked == [None, "bytes=1000-", "bytes=3000-", "bytes=3000-", "bytes=6000-"]
    assert {request.get("If-Range") for request in behaviour.requests[1:]} == {etag}


def test_a_later_call_goes_on_where_the_last_one_stopped(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.cut_after = [5000]
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a", sha256=SHA256, retries=0)
    assert "cut after 5,000 of" in caught.value.what
    assert leftovers(tmp_path) == {"a.part", "a.part.json"}
    download(url, tmp_path / "a", sha256=SHA256)
    assert behaviour.requests[-1]["Range"] == "bytes=5000-"
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert leftovers(tmp_path) == {"a"}


def test_a_new_version_on_the_server_is_not_mixed_with_the_old(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.cut_after = [5000]
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a", retries=0)
    behaviour.content, behaviour.etag = CONTENT.upper(), '"v2"'
    download(url, tmp_path / "a")
    assert behaviour.requests[-1]["If-Range"] == '"v1"'
    assert (tmp_path / "a").read_bytes() == CONTENT.upper()


def test_without_version_or_checksum_nothing_is_resumed(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.etag = 'W/"weak"'
    behaviour.cut_after = [5000]
    download(url, tmp_path / "a", pause=0.001)
    assert "Range" not in behaviour.requests[-1]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.ranges = False
    behaviour.cut_after = [5000]
    download(url, tmp_path / "a", sha256=SHA256, pause=0.001)
    assert behaviour.requests[-1]["Range"] == "bytes=5000-"
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_sends_another_range(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.wrong_range = True
    behaviour.cut_after = [5000]
    download(url, tmp_path / "a", sha256=SHA256, pause=0.001)
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 10])
def test_a_part_that_is_complete_or_too_long(
    server: tuple[str, Behaviour], tmp_path: Path, size: int
) -> None:
    url, _ = server
    (tmp_path / "a.part").write_bytes(CONTENT.ljust(size, b"x"))
    download(url, tmp_path / "a", sha256=SHA256, pause=0.001)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_bad_part_is_thrown_away_once(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    (tmp_path / "a.part").write_bytes(b"something else")
    (tmp_path / "a.part.json").write_text("not JSON")
    download(url, tmp_path / "a", sha256=SHA256)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_wrong_contents(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.content = b"<html>please log in</html>"
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a", sha256=SHA256)
    assert SHA256 in caught.value.what
    assert hashlib.sha256(behaviour.content).hexdigest() in caught.value.what
    assert leftovers(tmp_path) == set()


def test_a_wrong_file_in_place_stays_until_the_right_one_is_here(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    (tmp_path / "a").write_bytes(b"old")
    behaviour.answers = [404]
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a", sha256=SHA256)
    assert (tmp_path / "a").read_bytes() == b"old"
    download(url, tmp_path / "a", sha256=SHA256)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_not_found_is_not_tried_again(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.answers = [404]
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a")
    assert caught.value.what == "the server answered 404 Not Found"
    assert caught.value.where == url
    assert f"put it at {tmp_path / 'a'}" in str(caught.value)
    assert len(behaviour.requests) == 1


def test_a_busy_server_is_tried_again(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.answers = [503, 429, 500]
    download(url, tmp_path / "a", pause=0.001)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_stays_busy(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.answers = [503] * 10
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a", retries=2, pause=0.001)
    assert caught.value.what.startswith("the download failed 3 times: the server answered 503")
    assert len(behaviour.requests) == 3


def test_a_server_that_says_nothing(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.silent = True
    with pytest.raises(DownloadError, match="timed out"):
        download(url, tmp_path / "a", timeout=0.1, retries=0)


def test_connection_refused(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DownloadError, match="refused the connection"):
        download(f"http://127.0.0.1:{port}/a", tmp_path / "a")


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError) as caught:
        download("http://corpora.example/a", tmp_path / "a")
    assert "no network?" in caught.value.what
    assert f"put it at {tmp_path / 'a'}" in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "corpus.gz", "ftp://a/b"])
def test_addresses_that_are_not_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="neither http nor https"):
        download(url, tmp_path / "a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_full_disk(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    (tmp_path / "a.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError) as caught:
        download(server[0], tmp_path / "a")
    assert caught.value.what == f"the disk is full at {tmp_path}"


def test_a_folder_that_cannot_be_made(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot write in"):
        download(server[0], tmp_path / "file" / "a")


def test_downloads_of_one_file_at_the_same_time(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.cut_after = [1000]
    threads = [
        threading.Thread(
            target=download, args=(url, tmp_path / "a"), kwargs={"sha256": SHA256, "pause": 0.05}
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(behaviour.requests) == 2


def test_progress_goes_to_a_terminal_only(
    server: tuple[str, Behaviour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock = iter(float(second) for second in range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        download(server[0], tmp_path / str(shown))
        assert ("of 0.4 MB" in stream.getvalue()) is shown
        assert bool(stream.getvalue()) is shown


def test_the_version_of_a_part_is_only_used_for_its_own_address(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    (tmp_path / "a.part").write_bytes(CONTENT[:100])
    record = {"url": "http://elsewhere.example/a", "version": '"v1"'}
    (tmp_path / "a.part.json").write_text(json.dumps(record))
    download(url, tmp_path / "a")
    assert "Range" not in behaviour.requests[0]

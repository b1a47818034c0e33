"""Files over HTTP: resumed where they broke off, verified, and put in place in one piece.

A download grows as ``NAME.part`` beside its destination. What the server said about its version
(a strong ETag, else Last-Modified) is kept in ``NAME.part.json``, so that a later attempt asks for
the rest only of the same version (RFC 9110, sections 13.1.5 and 14.2).
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from peluche import files
from peluche.errors import DownloadError

try:
    import fcntl
except ImportError:  # Windows: two downloads of one file at a time are not kept apart there
    fcntl = None  # type: ignore[assignment]

CHUNK = 1 << 18
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that another attempt may change
USER_AGENT = "Mozilla/5.0 (compatible; peluche)"  # some servers refuse urllib's own name


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    timeout: float = 30.0,
    retries: int = 4,
    pause: float = 1.0,
) -> Path:
    """Fetch `url` into the file `destination`, unless it is there already.

    Args:
        url: http or https.
        destination: appears only when complete and verified.
        sha256: of the expected bytes, in hexadecimal; None where it cannot be known.
        timeout: seconds without a byte after which an attempt is given up.
        retries: attempts after the first in a row that bring no new bytes.
        pause: seconds before the first of them; doubled each time.

    Raises:
        DownloadError: if the server cannot be reached or refuses, the contents are not the
            expected ones, or the disk is full. Bytes that may be good are kept for the next call.
    """
    transfer = _Transfer(url, destination, sha256, timeout)
    if not url.startswith(("http://", "https://")):
        raise transfer.failed("the address is neither http nor https", "check the address")
    with _alone_in(destination.parent):
        if destination.exists() and sha256 in (None, files.sha256(destination)):
            return destination
        resumed = transfer.length() > 0
        transfer.run(retries, pause)
        if not transfer.verified() and resumed:
            # The bytes of the earlier call may have been of another version: once more, afresh.
            transfer.forget()
            transfer.run(retries, pause)
        if not transfer.verified():
            found = files.sha256(transfer.part)
            transfer.forget()
            raise transfer.failed(
                f"the download is not the expected file: SHA-256 is {found}, should be {sha256}",
                "look whether a proxy or the server has changed it",
            )
        transfer.publish()
    return destination


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""


class _Transfer:
    """One URL on its way into one file."""

    def __init__(self, url: str, destination: Path, sha256: str | None, timeout: float) -> None:
        self.url = url
        self.destination = destination
        self.sha256 = sha256
        self.timeout = timeout
        self.part = destination.with_name(f"{destination.name}.part")
        self.version = destination.with_name(f"{destination.name}.part.json")

    def length(self) -> int:
        """Bytes that are already here."""
        return self.part.stat().st_size if self.part.exists() else 0

    def verified(self) -> bool:
        return self.sha256 is None or files.sha256(self.part) == self.sha256

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def publish(self) -> None:
        with self.part.open("rb") as stream:
            os.fsync(stream.fileno())
        self.part.replace(self.destination)
        self.version.unlink(missing_ok=True)
        files.sync_directory(self.destination.parent)

    def failed(self, what: str, hint: str) -> DownloadError:
        by_hand = f"or fetch it some other way and put it at {self.destination}"
        return DownloadError(what, where=self.url, remedy=f"{hint}, {by_hand}")

    def run(self, retries: int, pause: float) -> None:
        """Attempts until the part is complete."""
        failures = 0
        while True:
            before = self.length()
            try:
                return self._attempt()
            except _TryAgain as error:
                failures = 1 if self.length() > before else failures + 1
                if failures > retries:
                    raise self.failed(
                        f"the download failed {failures} times: {error}", "try again later"
                    ) from None
                time.sleep(pause * 2 ** (failures - 1))

    def _attempt(self) -> None:
        try:
            with self._open() as response:
                self._receive(response)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except urllib.error.URLError as error:
            self._unreachable(error.reason)
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _TryAgain(str(error) or type(error).__name__) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = "free some space and repeat the command: it goes on where it stopped"
                raise self.failed(f"the disk is full at {self.destination.parent}", hint) from None
            what = f"cannot write {self.part}: {error.strerror}"
            raise self.failed(what, "choose another folder") from None

    def _open(self) -> http.client.HTTPResponse:
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        version = self._version_here()
        if self.length() and (version or self.sha256):
            headers["Range"] = f"bytes={self.length()}-"
            if version:
                headers["If-Range"] = version
        request = urllib.request.Request(self.url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self.timeout)
        return response

    def _version_here(self) -> str | None:
        try:
            record = json.loads(self.version.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record["version"] if record.get("url") == self.url else None

    def _receive(self, response: http.client.HTTPResponse) -> None:
        start = 0
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            start = self.length()
            given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if given is None or int(given[1]) != start:
                self.forget()
                raise _TryAgain("the server sent another part than was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        etag = response.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        self.version.write_text(json.dumps({"url": self.url, "version": strong}), encoding="utf-8")
        with (
            self.part.open("r+b" if start else "wb") as stream,
            _progress(self.destination.name, start, total) as show,
        ):
            stream.seek(start)
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                show(stream.tell())
            here = stream.tell()
        if total is not None and here < total:
            raise _TryAgain(f"the connection was cut after {here:,} of {total:,} bytes")

    def _refused(self, error: urllib.error.HTTPError) -> None:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.length():
            if error.headers.get("Content-Range") == f"bytes */{self.length()}":
                return  # all of it is here
            self.forget()
            raise _TryAgain("the file on the server has changed")
        answer = f"the server answered {error.code} {error.reason}"
        if error.code in PASSING:
            raise _TryAgain(answer)
        raise self.failed(answer, "check the address")

    def _unreachable(self, reason: object) -> None:
        if isinstance(reason, socket.gaierror):
            raise self.failed("the server's name is not known: no network?", "go online")
        if isinstance(reason, ConnectionRefusedError):
            raise self.failed("the server refused the connection", "check address and proxy")
        if isinstance(reason, ssl.SSLCertVerificationError):
            what = f"the server's certificate is not trusted: {reason.verify_message}"
            raise self.failed(what, "check the machine's clock and certificates")
        if not isinstance(reason, OSError):
            raise self.failed(f"the address cannot be used: {reason}", "check the address")
        raise _TryAgain(str(reason))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes' downloads into `folder` waiting until ours is over."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        remedy = "choose a folder that you may write to"
        what = f"cannot write in {folder}: {error.strerror}"
        raise DownloadError(what, remedy=remedy) from None
    with lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A line on standard error, renewed ten times a second, if that is a terminal."""
    began = shown = time.monotonic()
    terminal = sys.stderr.isatty()

    def show(done: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if not terminal or now - shown < 0.1:
            return
        shown = now
        rate = (done - start) / (now - began)
        of = f" of {total / 1e6:.1f} MB, {(total - done) / rate:.0f} s left" if total else " MB"
        sys.stderr.write(f"\r{name}: {done / 1e6:.1f}{of}, {rate / 1e6:.1f} MB/s\x1b[K")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

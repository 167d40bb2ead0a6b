"""A log where it is served: a folder, or a base URL over HTTP. Gives the `fetch` that readers take.

Proof core. `fetch(path)` returns a file's bytes, raises `FileNotFoundError` where there is none (HTTP: exactly 404)
and another `OSError` where it cannot be read; what is larger than any file of a log is refused.
"""

import http.client
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from audit.merkle import VerificationError
from audit.tiles import BUNDLE_BYTES_MAX

TIMEOUT_S = 30


class Folder:
    """A log as a folder; the file `checkpoint` stands at its top."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def fetch(self, path: str) -> bytes:
        with (self._root / path).open("rb") as file:
            return _bounded(file.read(BUNDLE_BYTES_MAX + 1), path)

    def paths(self) -> Iterator[str]:
        """List every file below the folder by its served name."""
        for found in sorted(self._root.rglob("*")):
            if found.is_file():
                yield found.relative_to(self._root).as_posix()


class Site:
    """A log at a base URL; a private one takes a bearer token."""

    def __init__(self, base: str, bearer: str = "") -> None:
        self._base = base if base.endswith("/") else base + "/"
        self._headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}

    def fetch(self, path: str) -> bytes:
        request = urllib.request.Request(self._base + path, headers=self._headers)  # noqa: S310 http(s) only, see open_log
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 same
                raw = _bounded(answer.read(BUNDLE_BYTES_MAX + 1), path)
                return _inflate(raw, path) if answer.headers["Content-Encoding"] == "gzip" else raw
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.HTTPStatus.NOT_FOUND:
                raise FileNotFoundError(path) from None
            raise OSError(f"{path}: the log answers HTTP {error.code}") from None
        except http.client.HTTPException:
            raise OSError(f"{path}: the log's answer broke off") from None


def open_log(location: str, bearer: str = "") -> Folder | Site:
    """Open a log by folder, by its `checkpoint` file, by `file://` URL, or by http(s) base URL."""
    parts = urlsplit(location)
    if parts.scheme in {"http", "https"}:
        return Site(location.removesuffix("checkpoint"), bearer)
    path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(location)
    return Folder(path.parent if path.is_file() else path)


def _bounded(raw: bytes, path: str) -> bytes:
    if len(raw) > BUNDLE_BYTES_MAX:
        raise VerificationError("the file is larger than any file of a log", path=path)
    return raw


def _inflate(raw: bytes, path: str) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(raw, BUNDLE_BYTES_MAX + 1)
    except zlib.error:
        raise VerificationError("the gzip encoding is broken", path=path) from None
    if not inflater.eof:
        raise VerificationError("the gzip encoding is broken or too large", path=path)
    return inflated

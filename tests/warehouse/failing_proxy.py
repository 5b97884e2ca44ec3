"""An S3 server that fails, is slow and lists late: a proxy before a sound one, for whole builds in processes of their
own.

Listings are answered here, from what was put and removed through the proxy, as it was some seconds ago: what came since
is missing, and what went since is still told. All else is handed on.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_OWN = {"connection", "content-length", "keep-alive", "transfer-encoding"}
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


class _Event(NamedTuple):
    """What happened to a key when; `size` is -1 where it was removed."""

    at_s: float
    size: int
    etag: str


class FailingProxy(ThreadingHTTPServer):
    """The server.

    Args:
        target: host and port of the sound one.
        fails: share of requests that fail, evenly: with 500, with 503, by a connection that is closed before they are
            done, or after it, in turn.
        slow_s: seconds that each takes more.
        late_s: how old listings are.
    """

    daemon_threads = True

    def __init__(self, target: tuple[str, int], fails: float = 0.0, slow_s: float = 0.0, late_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.fails, self.slow_s, self.late_s = target, fails, slow_s, late_s
        self.told: Counter[str] = Counter()
        self.events: dict[str, list[_Event]] = {}
        self.lock = threading.Lock()
        self._n_due = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fate(self) -> str:
        """What becomes of a request."""
        with self.lock:
            before, self._n_due = int(self._n_due), self._n_due + self.fails
            how = "" if int(self._n_due) == before else ("500", "503", "cut", "lost")[before % 4]
            self.told[how or "sound"] += 1
        return how

    def note(self, key: str, size: int, etag: str = "") -> None:
        """A key was put, or removed."""
        with self.lock:
            self.events.setdefault(key, []).append(_Event(time.monotonic(), size, etag))

    def listed(self, prefix: str) -> dict[str, _Event]:
        """The keys as listings have them now."""
        until_s = time.monotonic() - self.late_s
        found = {}
        with self.lock:
            for key, events in self.events.items():
                then = [one for one in events if one.at_s <= until_s]
                if key.startswith(prefix) and then and then[-1].size >= 0:
                    found[key] = then[-1]
            self.told["late"] += sum(events[-1].at_s > until_s for events in self.events.values())
        return found

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was cut off, or cut us off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FailingProxy

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""

    def _answer(self) -> None:
        body = self._body()
        how, server = self.server.fate(), self.server
        time.sleep(server.slow_s)
        if how in ("500", "503"):
            code, name = (500, "InternalError") if how == "500" else (503, "SlowDown")
            self._send(code, {}, f"{_XML}<Error><Code>{name}</Code><Message>of a test</Message></Error>".encode())
            return
        if how == "cut":
            self.close_connection = True
            return
        place, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if server.late_s and self.command == "GET" and "list-type" in query:
            code, headers, content = 200, {"Content-Type": "application/xml"}, self._listing(place.path, query)
        else:
            code, headers, content = self._handed_on(body)
            self._note(unquote(place.path), query, len(body), code, headers)
        if how == "lost":
            self.close_connection = True
            return
        self._send(code, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _handed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.server.target, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_OWN, "expect"}}
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _note(self, path: str, query: dict[str, list[str]], size: int, code: int, headers: dict[str, str]) -> None:
        _, bucket, key = path.split("/", 2) if path.count("/") > 1 else ("", path, "")
        if not key or code >= 300 or query.keys() & {"uploads", "uploadId"}:
            return
        if self.command == "PUT":
            size = int(self.headers.get("x-amz-decoded-content-length", size))
            self.server.note(f"{bucket}/{key}", size, headers.get("ETag", ""))
        elif self.command == "DELETE":
            self.server.note(f"{bucket}/{key}", -1)

    def _listing(self, path: str, query: dict[str, list[str]]) -> bytes:
        bucket = path.strip("/")
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys, folders = [], set()
        for name, event in sorted(self.server.listed(f"{bucket}/{prefix}").items()):
            key = name.removeprefix(f"{bucket}/")
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                keys.append((key, event))
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified><ETag>{escape(one.etag)}</ETag>"
            f"<Size>{one.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, one in keys
        )
        above = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders))
        told = (
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(keys) + len(folders)}</KeyCount>"
            f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}{above}"
        )
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        return f'{_XML}<ListBucketResult xmlns="{space}">{told}</ListBucketResult>'.encode()

    def _send(self, code: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(code)
        for name, value in headers.items():
            if name.lower() not in _OWN:
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        if code != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def failing_proxy(target: str, **how: Any) -> Iterator[FailingProxy]:
    """A proxy before the server with this URL, in a thread of its own."""
    place = urlsplit(target)
    assert place.hostname and place.port
    proxy = FailingProxy((place.hostname, place.port), **how)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()

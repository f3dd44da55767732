"""The page with a server that tells of a fleet that was never built, under the policy of the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import ingest_server
from tests.support import page_fleet
from tests.support.page_notices import all_notices

PAGE = Path(ingest_server.__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class PageSite:
    """What a test says of the fleet, and what the page has asked for."""

    def __init__(self, rows: Iterable[dict[str, Any]] = (), *, mode: str = "open") -> None:
        self.rows = {one["device"]: one for one in rows}
        self.mode = mode
        self.role = "operator"
        self.recordings = page_fleet.recordings(23)
        self.groups = page_fleet.groups()
        self.videos: list[bytes] = []
        """What the recordings are, in turns; without one they are empty."""
        self.is_down = False
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.given: dict[str, Any] = {}
        """What an operator is told of a command instead."""
        self.refuses: dict[str, tuple[int, str]] = {}
        self.instead: dict[str, Any] = {}
        """What somebody in between answers at a path."""
        self.told: dict[str, Any] = {}
        """What devices say instead."""
        self._version = 1
        self._changed = dict.fromkeys(self.rows, 1)
        self._lock = threading.Lock()

    def put(self, row: dict[str, Any]) -> None:
        """Let something happen to a device."""
        with self._lock:
            self._version += 1
            self.rows[row["device"]] = row
            self._changed[row["device"]] = self._version

    def posted(self, ending: str) -> list[tuple[dict[str, str], Any]]:
        """Return headers and body of each change that was asked for at a path that ends so."""
        return [
            (headers, body)
            for method, path, headers, body in self.asked
            if method != "GET" and path.endswith(ending)
        ]

    def fleet(self, since: str | None) -> dict[str, Any]:
        with self._lock:
            seen = int(since or 0)
            found = list(self.rows.values())
            new = [one for one in found if self._changed[one["device"]] > seen]
            return {
                "v": 1,
                "cursor": str(self._version),
                "now": page_fleet.at(0),
                "is_whole": seen == 0,
                "tiles": page_fleet.tiles(found),
                "devices": new,
                "gone": [],
                "notices": all_notices(found),
                "stuck": page_fleet.stuck(found),
            }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path in self.refuses:
            status, detail = self.refuses[path]
            return status, {"type": "about:blank", "status": status, "detail": detail}
        if path in self.instead:
            return 200, self.instead[path]
        if path == "session":
            return self._session(method, body)
        if self.mode == "none":
            return 401, {"status": 401, "title": "Unauthorized", "detail": "sign in first"}
        parts = [unquote(part) for part in path.split("/")]
        if path == "fleet":
            return 200, self.fleet(query.get("since"))
        if parts[:2] == ["fleet", "devices"] and parts[2] in self.rows:
            return self._device(method, parts[2], parts[3:], body)
        if parts == ["fleet", "partial"]:
            return 200, {"partial": page_fleet.partial(query["device"]), "next": None}
        if parts[:2] == ["fleet", "groups"]:
            return self._groups(parts[2:], query)
        if parts[:2] == ["fleet", "recordings"]:
            return self._recordings(parts[2:], query)
        return 404, {"status": 404, "title": "Not found", "detail": "there is no such device"}

    def _session(self, method: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            if body != {"user": "alice", "password": "correct horse"}:
                return 401, {"status": 401, "detail": "The user or the password is wrong."}
            self.mode = "user"
            return 204, None
        if method == "DELETE":
            self.mode = "none"
            return 204, None
        user = "alice" if self.mode == "user" else None
        csrf = "c5f" if user else None
        return 200, {"mode": self.mode, "user": user, "role": self.role, "csrf": csrf}

    def _device(self, method: str, name: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if method in ("POST", "PUT"):
            given = {"id": "k1", "seen_by": page_fleet.at(-30), "via": "server", "version": 8}
            return 202, {**given, "expires_at": page_fleet.at(-900), **self.given}
        match rest:
            case []:
                return 200, page_fleet.device(self.rows[name]) | self.told
            case ["history"]:
                return 200, page_fleet.history()
            case ["holds"]:
                files = page_fleet.device(self.rows[name])["files"]
                held = files["pending"] + files["failed"]
                return 200, {"holds": held, "next": None, "count": len(held), "is_full": False}
        return 404, {"status": 404, "title": "Not found"}

    def _groups(self, rest: list[str], query: dict[str, str]) -> tuple[int, Any]:
        if rest:
            return 200, next(one for one in self.groups if one["group"] == rest[1])
        fits = [one for one in self.groups if query.get("state", one["state"]) == one["state"]]
        return 200, {"groups": fits, "next": None}

    def _recordings(self, rest: list[str], query: dict[str, str]) -> tuple[int, Any]:
        if rest:
            found = [one for one in self.recordings if one["upload_id"] == rest[0]]
            return (200, {**found[0], "receipt": found[0]}) if found else (404, {"status": 404})
        wanted = query.get("q", "").lower()
        fits = [
            one
            for one in self.recordings
            if wanted in one["name"].lower() and query.get("device", one["device"]) == one["device"]
        ]
        start = int(query.get("cursor", 0))
        rest_starts = start + 20
        following = str(rest_starts) if rest_starts < len(fits) else None
        return 200, {"recordings": fits[start:rest_starts], "next": following}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: PageSite

    def do_GET(self) -> None:
        self._do()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 # http.server's names

    def _do(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if self.site.is_down:
            self.close_connection = True
            self.connection.close()
        elif url.path.startswith("/v1/"):
            self._api(url.path[4:], {k: v[0] for k, v in parse_qs(url.query).items()}, raw)
        else:
            self._file("index.html" if url.path == "/" else url.path.removeprefix("/page/"))

    def _file(self, name: str) -> None:
        path = PAGE / name
        if "/" in name or not path.is_file():
            self._send(404, b"", "text/plain")
            return
        more = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        self._send(200, path.read_bytes(), _TYPES.get(path.suffix, "text/plain"), more)

    def _api(self, path: str, query: dict[str, str], raw: bytes) -> None:
        body = json.loads(raw) if raw else None
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.site.asked.append((self.command, path, headers, body))
        if path.endswith("/content") and path not in self.site.refuses:
            self._content(path.split("/")[-2])
            return
        status, document = self.site.answer(self.command, path, query, body)
        data = b"" if document is None else json.dumps(document).encode()
        tag = f'"{hash(data)}"'
        if self.command == "GET" and status == 200 and headers.get("if-none-match") == tag:
            self._send(304, b"", "application/json", {"ETag": tag})
        else:
            self._send(status, data, "application/json", {"ETag": tag})

    def _content(self, upload_id: str) -> None:
        videos = self.site.videos or [b""]
        data = videos[int(upload_id, 16) % len(videos)]
        start, stop = 0, len(data)
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and data:
            first, _, last = asked[6:].partition("-")
            start, stop = int(first), min(int(last or len(data)), len(data) - 1) + 1
        more = {"Accept-Ranges": "bytes"}
        if asked:
            more["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        self._send(206 if asked else 200, data[start:stop], "video/mp4", more)

    def _send(
        self, status: int, data: bytes, kind: str, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Tell the time of the fleet: what the page shows then is always the same."""
        return super().date_time_string(
            page_fleet.NOW.timestamp() if timestamp is None else timestamp
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(site: PageSite) -> Iterator[str]:
    """Serve *site* on loopback; yield its address."""
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

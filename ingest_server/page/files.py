"""The page itself: a few files of this package, read at the start and given to anybody who asks.

There is nothing in them that is not in the source: who may see anything of a device is asked where
the page asks for it. What is not in the table that is made at the start does not exist, so no path
leads out of the folder.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import falcon

from ingest_server.core.errors import Refused
from ingest_server.protocols.packing import is_held, takes_gzip

ROOT = "/"
FOLDER = "/page"
INDEX = "index.html"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
"""What is a file of the page, by how its name ends; all else here is the program."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{media}; "
    "media-src 'self' blob:{media}; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
POLICY = _POLICY.format(media="")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""No script but ours, no frame around it, no other site that is asked for anything. A browser keeps the
files, and asks each time whether they are still these: a new server has its own page at once."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page."""

    content: bytes
    packed: bytes | None
    """By gzip; None where that makes it no smaller."""
    media_type: str
    tag: str


class PageFiles:
    """The files of the page, by their names below `FOLDER`."""

    def __init__(self, found: Mapping[str, File], media: str | None = None) -> None:
        """*media*: from where recordings are played, beside this server."""
        self._files = found
        self._headers = dict(HEADERS)
        if media is not None:
            self._headers["Content-Security-Policy"] = _POLICY.format(media=f" {media}")

    @classmethod
    def load(cls, media: str | None = None) -> PageFiles:
        """Return what this package holds; *media*: see above."""
        return cls(dict(_found(files(__package__), "")), media)

    def on_get_root(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.on_get(req, resp, INDEX)

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Give a file, or say that the browser has it.

        Raises:
            Refused: there is none of that name.
        """
        resp.set_headers(self._headers)
        file = self._files.get(name)
        if file is None:
            raise Refused("not-found", "the page has no file of that name")
        packs = file.packed is not None and takes_gzip(req)
        tag = f'"{file.tag}{"-gzip" if packs else ""}"'
        resp.set_header("ETag", tag)
        if is_held(req, tag):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = file.media_type
        if file.packed is not None and packs:
            resp.set_header("Content-Encoding", "gzip")
            resp.data = file.packed
        else:
            resp.data = file.content


class NoPage:
    """What stands at `/` where the page is off."""

    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        """Say so.

        Raises:
            Refused: always.
        """
        raise Refused(
            "not-found",
            "this server shows no page: it is off ([page] enabled), which is what a server that "
            "other machines can reach begins with",
        )


def add_routes(
    app: falcon.App[falcon.Request, falcon.Response], page_files: PageFiles | None
) -> None:
    """Put the page at `/`; with None, a sentence that says why there is none."""
    if page_files is None:
        app.add_route(ROOT, NoPage())
        return
    app.add_route(ROOT, page_files, suffix="root")
    app.add_route(f"{FOLDER}/{{name:path}}", page_files)


def is_file(path: str) -> bool:
    """Whether *path* is one of the page's own, for which nobody needs a credential."""
    return path == ROOT or path.startswith(f"{FOLDER}/")


def _found(folder: Traversable, above: str) -> list[tuple[str, File]]:
    found = []
    for one in folder.iterdir():
        name = above + one.name
        media_type = TYPES.get("." + one.name.rpartition(".")[2])
        if one.is_dir():
            found += _found(one, f"{name}/")
        elif media_type is not None:
            found.append((name, _file(one.read_bytes(), media_type)))
    return found


def _file(content: bytes, media_type: str) -> File:
    packed = gzip.compress(content, 9, mtime=0)
    tag = hashlib.sha256(content).hexdigest()[:32]
    return File(content, packed if len(packed) < len(content) else None, media_type, tag)

"""Finds what a page of the site would fetch from elsewhere when it is read: a script, style, font or picture.

A link that a reader follows is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADS = {
    "href": frozenset({"link", "image", "use"}),
    "xlink:href": frozenset({"image", "use"}),
    "src": None,
    "srcset": None,
    "poster": None,
    "data": frozenset({"object"}),
}
"""An attribute that has the browser load something -> the elements where it does; None: in all."""

_SAYS_WHAT_IT_IS = frozenset({"canonical", "author", "license", "help", "next", "prev"})
"""What a `link` may be that loads nothing."""

_CODE = frozenset({"script", "style"})
_ELSEWHERE = ("http:", "https:", "//")
_IN_CODE = re.compile(
    r"""(?:\burl\(|@import|\bimport\b|\bfrom\b|\bfetch\(|\bsrc\s*=|\bimportScripts\()\s*\(?\s*["']?((?:https?:)?//[^\s"'`)]+)""",
    re.IGNORECASE,
)


def in_code(text: str) -> list[str]:
    """Return the addresses that a style sheet or a script loads from elsewhere."""
    return _IN_CODE.findall(text)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code = tag in _CODE
        given = {name: value or "" for name, value in attrs}
        loads_nothing = tag == "link" and given.get("rel") in _SAYS_WHAT_IT_IS
        for name, value in given.items():
            where = _LOADS.get(name, frozenset())
            if (where is None or tag in where) and not loads_nothing:
                parts = (one.strip() for one in (value.split(",") if name == "srcset" else [value]))
                self.found += [one for one in parts if one.lower().startswith(_ELSEWHERE)]
        self.found += in_code(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._code:
            self.found += in_code(data)

    def handle_endtag(self, tag: str) -> None:
        self._code = self._code and tag not in _CODE


def in_page(text: str) -> list[str]:
    """Return the addresses that a page, or a drawing in SVG, loads from elsewhere."""
    page = _Page()
    page.feed(text)
    page.close()
    return page.found


def in_site(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of the built site that loads something from elsewhere, and the address."""
    for path in sorted(folder.rglob("*")):
        look = {".html": in_page, ".svg": in_page, ".css": in_code, ".js": in_code}.get(path.suffix)
        if look is not None:
            for address in look(path.read_text(encoding="utf-8")):
                yield path.relative_to(folder), address

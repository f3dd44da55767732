"""What a field such as Content-Disposition or Content-Type says behind its first ``;``.

Names by RFC 6266 and RFC 8187, and as browsers write them into forms (the HTML standard): a file's
name may hold anything, and no library's opinion of charsets stands between it and us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

_NAME = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"[^;]*")
_PAIR = re.compile(r'\\(["\\])')
_WHOLE_PATH = re.compile(r"[A-Za-z]:\\|\\\\")
"""How old browsers begin a file's name, its backslashes as they are."""
_EXTENDED = re.compile(r"([!#$%&+^_`{}~0-9A-Za-z-]+)'[0-9A-Za-z-]*'([^'\s]*)\Z")
_CHARSETS = {"utf-8": "utf-8", "iso-8859-1": "latin-1"}
"""RFC 8187, 3.2.1 asks for the first; its predecessor for both. A name in another one is not read."""


def file_name(field: str | None) -> str | None:
    """Return the file's name in a header, in the Latin-1 of WSGI; None where there is none to read."""
    return name_in(parameters_of(field))


def parameters_of(field: str | None) -> dict[str, str]:
    """Return the parameters of a header, in the Latin-1 of WSGI; none where there is no header."""
    return {} if field is None else parameters(field.encode("latin-1", "replace"))


def name_in(found: Mapping[str, str]) -> str | None:
    """Return the file's name among *found*: the extended form, where it can be read, or the plain."""
    extended = _EXTENDED.match(found.get("filename*", ""))
    if extended is not None and extended[1].lower() in _CHARSETS:
        try:
            return unquote_to_bytes(extended[2]).decode(_CHARSETS[extended[1].lower()])
        except UnicodeDecodeError:
            pass  # as if it were not there
    return found.get("filename")


def text_of(raw: bytes) -> str:
    """Return *raw* as the UTF-8 that it should be, or else as the Latin-1 of an old page."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parameters(raw: bytes) -> dict[str, str]:
    """Return the parameters of a field, names in lower case, the first of each name.

    Each value is read by itself, as a page may have its own charset for each. What is no parameter
    is passed over.
    """
    field = raw.decode("latin-1")
    found: dict[str, str] = {}
    at = field.find(";")
    while 0 <= at < len(field) and field[at] == ";":
        name = _NAME.match(field, at + 1)
        if name is None:
            at += 1 + len(_BARE.match(field, at + 1)[0])  # type: ignore[index]  # matches anything
            continue
        value, at = _value(field, name.end())
        found.setdefault(name[1].lower(), text_of(value.encode("latin-1")))
    return found


def _value(field: str, at: int) -> tuple[str, int]:
    """Return the value that begins at *at*, and where the next ``;`` may be."""
    quoted = _QUOTED.match(field, at)
    if quoted is None:
        bare = _BARE.match(field, at)
        text = "" if bare is None else bare[0]
        return text.strip(" \t").removeprefix('"'), at + len(text)
    text = quoted[1]
    if not _WHOLE_PATH.match(text):
        text = _PAIR.sub(r"\1", text)
    rest = _BARE.match(field, quoted.end())
    return text, quoted.end() + (0 if rest is None else len(rest[0]))

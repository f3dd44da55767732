"""From the names that a device sends to a path below the published folder.

A name is data: it comes back from the API as it came in, and only here does it become a path.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator
from itertools import count

from ingest_server.core.errors import Refused

MAX_COMPONENT_BYTES = 255
"""What Linux filesystems take for one name."""
MAX_NAME_BYTES = 4096
MAX_FOLDER_LEVELS = 32

STAGING = ".ingest-server"
"""A folder of the server's own among the published files, where they are copied to another volume."""

FIELDS = frozenset({"device", "folder", "date", "recorded", "name"})

# Not forbidden on Linux; forbidden where the published folder is often looked at from.
_UNSAFE = str.maketrans(dict.fromkeys('<>:"|?*\\/', "_"))
_INVISIBLE = ("C", "Zl", "Zp")
"""Categories: controls, bidirectional overrides, invisible and unassigned characters, and what ends
a line for some tools."""
_RESERVED = re.compile(
    r"(?i)(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?\Z"
)
"""Devices, not files, to Windows and to Samba: with any extension, and with blanks before it."""
_MEANS_MORE = ("-", "~")
"""What a name must not begin with: an option to every tool, somebody's home to every shell."""
_WINDOWS_PATH = re.compile(r"([A-Za-z]:[\\/]|\\\\)")
_MAX_EXTENSION_BYTES = 32
_NUMBER = re.compile(r"-([0-9]{1,18})(?:\.[^./]*)?\Z", re.ASCII)


def as_text(raw: str) -> str:
    """Return *raw* with everything percent-escaped that UTF-8 cannot encode.

    A lone surrogate that stands for a byte (PEP 383) becomes that byte, any other its own three.
    """
    return "".join(_escaped(one) if "\ud800" <= one <= "\udfff" else one for one in raw)


def _escaped(surrogate: str) -> str:
    error_handler = "surrogateescape" if "\udc80" <= surrogate <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in surrogate.encode("utf-8", error_handler))


def check_name(name: str, folder: str) -> None:
    """Refuse what no file can be called.

    Raises:
        Refused: the name is empty, ``.`` or ``..``, or one of both is beyond all measure.
    """
    if name in {"", ".", ".."}:
        raise Refused("invalid-name", f"a file cannot be called {name!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise Refused("invalid-name", f"the name is longer than {MAX_NAME_BYTES} bytes")
    if len(folder.encode()) > MAX_NAME_BYTES or folder.count("/") >= MAX_FOLDER_LEVELS:
        raise Refused(
            "invalid-name",
            f"the folder is longer than {MAX_NAME_BYTES} bytes "
            f"or deeper than {MAX_FOLDER_LEVELS} levels",
        )


def component(raw: str) -> str:
    """Return *raw* as one safe, visible path component of at most 255 bytes."""
    text = unicodedata.normalize("NFC", as_text(raw))
    text = "".join(one for one in text if not unicodedata.category(one).startswith(_INVISIBLE))
    text = text.translate(_UNSAFE).strip(" ").rstrip(" .")
    if not text:
        return "unnamed"
    if text.startswith(".") and not raw.startswith("."):
        text = f"unnamed{text}"  # only the extension is left of the name
    if _RESERVED.match(text) or text.startswith(_MEANS_MORE) or text.casefold() == STAGING:
        text = f"_{text}"
    return fitted(text)


def leaf(name: str) -> str:
    """Return the last part of a whole path of Windows, as old programs send it; else *name*."""
    if not _WINDOWS_PATH.match(name):
        return name
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def joined(*names: str) -> str:
    """Return one path of the names that are not empty."""
    return "/".join(name for name in names if name)


def folded(name: str) -> str:
    """Return what *name* has in common with those that Windows, macOS or Samba may take for it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).upper().casefold())


def fitted(text: str, suffix: str = "") -> str:
    """Return *text* cut to 255 bytes with *suffix* before its extension, which is kept."""
    stem, dot, extension = text.rpartition(".")
    if not stem or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        stem, dot, extension = text, "", ""
    tail = f"{suffix}{dot}{extension}"
    room = MAX_COMPONENT_BYTES - len(tail.encode())
    # Cut between characters: "ignore" drops the one that would be torn. Windows takes no name that
    # ends in a dot or a blank.
    return (stem.encode()[:room].decode("utf-8", "ignore") + tail).rstrip(" .")


def numbered(path: str) -> Iterator[str]:
    """Yield *path*, then ``name-2.ext``, ``name-3.ext``, ... without end."""
    yield path
    for number in count(2):
        yield with_number(path, number)


def without_number(path: str, numbered_path: str) -> str:
    """Return *path* if *numbered_path* is it, but for a number and its case, else that itself."""
    found, there = _NUMBER.search(numbered_path), folded(numbered_path)
    is_numbered = found is not None and folded(with_number(path, int(found[1]))) == there
    return path if is_numbered or folded(path) == there else numbered_path


def with_number(path: str, number: int) -> str:
    """Return *path* with ``-number`` before its extension."""
    parents, slash, leaf = path.rpartition("/")
    return f"{parents}{slash}{fitted(leaf, f'-{number}')}"


class NameTemplate:
    """Where published files go, below the published folder.

    Raises:
        ValueError: the template cannot be used; the message says why.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        self.tells_devices_apart = False
        """Whether no two devices can come to one path."""
        try:
            parsed = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"name_template {template!r} cannot be read: {error}") from error
        used = {field for _, field, _, _ in parsed if field is not None}
        if unknown := used - FIELDS:
            raise ValueError(
                f"name_template {template!r} has {{{min(unknown)}}}, "
                "it may have {device}, {folder}, {date}, {recorded} and {name}"
            )
        if any(spec or conversion for _, _, spec, conversion in parsed):
            raise ValueError(f"name_template {template!r}: a field is a name only, as in {{name}}")
        self.tells_devices_apart = "device" in used
        if "name" not in used:
            raise ValueError(f"name_template {template!r} must contain {{name}}")
        parts = template.split("/")
        if "" in parts or "." in parts or ".." in parts:
            raise ValueError(
                f"name_template {template!r} must be a path below the published folder: "
                "no '/' at its ends, no '//', no '.' or '..'"
            )
        literal = "".join(text for text, _, _, _ in parsed)
        if literal.replace("/", "").translate(_UNSAFE) != literal.replace("/", "") or any(
            unicodedata.category(one).startswith(_INVISIBLE) for one in literal
        ):
            raise ValueError(f"name_template {template!r} has characters that no name should have")

    def path(
        self, *, device: str, folder: str, date: str, name: str, recorded: str | None = None
    ) -> str:
        """Return the first choice for a file's path, relative, with ``/``, each part safe.

        Args:
            date: of the upload.
            recorded: of the recording; None where nobody knows: then it is *date* too.
        """
        folders = [component(part) for part in folder.split("/") if part not in {"", ".", ".."}]
        values = {
            "device": component(device),
            "date": component(date),
            "recorded": component(recorded or date),
            "name": component(leaf(name)),
        }
        parts: list[str] = []
        for part in self._template.split("/"):
            if part == "{folder}":
                parts.extend(folders)
            else:
                parts.append(component(part.format(**values, folder="_".join(folders))))
        return "/".join(parts)

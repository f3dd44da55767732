"""Names of files as text: a Linux name is bytes, and travels as JSON. And words of libraries, for people."""

from __future__ import annotations

import re

_CODES = re.compile(r"^\[(?:SSL(?:: [A-Z0-9_]+)?|Errno -?\d+)\] ?|(?<!\s)\s*\(_ssl\.c:\d+\)$")
"""What OpenSSL and the kernel put around their words."""


def printable(name: bytes) -> str:
    """Return *name* as text that can go anywhere and be turned back.

    Bytes that are no UTF-8, control characters and ``%`` itself become ``%XX``; all else stays as it
    is. So ``a%b`` becomes ``a%25b``: only then is the way back unambiguous.
    """
    text = name.decode("utf-8", "surrogateescape")
    return "".join(
        "".join(f"%{byte:02X}" for byte in one.encode("utf-8", "surrogateescape"))
        if one == "%" or not one.isprintable()
        else one
        for one in text
    )


def without_codes(text: str) -> str:
    """Return the words of OpenSSL or the kernel without their codes, which tell a person nothing."""
    return _CODES.sub("", text) or text

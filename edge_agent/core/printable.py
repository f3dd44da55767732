"""Names of files as text: a Linux name is bytes, and travels as JSON."""

from __future__ import annotations


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

"""The way back from a name as the agent shows it: what whoever reads a published name has to do."""

from __future__ import annotations


def original(name: str) -> bytes:
    """Return the bytes that `printable` made *name* of.

    Raises:
        ValueError: ``%`` without two hex digits behind it.
    """
    head, *escaped = name.split("%")
    made = bytearray(head.encode())
    for part in escaped:
        if len(part) < 2:
            msg = f"not an escaped name: {name!r}"
            raise ValueError(msg)
        made += bytes.fromhex(part[:2]) + part[2:].encode()
    return bytes(made)

"""The files of a rosbag2 by its own ``metadata.yaml``, which is written when the bag is closed."""

from __future__ import annotations

from edge_agent.core.printable import printable

NAME = "metadata.yaml"
MOST_BYTES = 1024 * 1024
"""A bag of 1000 topics has 400 KB; what is longer is no such list."""
_MOST = 1000
_LIST = b"relative_file_paths:"
_LONGEST_NAME = 255
"""Bytes, on every file system that Linux writes."""


def listed_files(content: bytes) -> list[str] | None:
    """Return the names that *content* lists, as recordings are known by them; None: it has no such list.

    Not YAML in general: of what rosbag2 writes, one name to a line. What reads otherwise lists nothing, and
    what no file can be called, in a list that is damaged, is no file of the bag.
    """
    lines = iter(content.splitlines())
    for line in lines:
        if line.strip() == _LIST:
            break
    else:
        return None
    names: list[str] = []
    for line in lines:
        entry = line.strip()
        if not entry.startswith(b"- ") or len(names) >= _MOST:
            break
        name = entry[2:].strip().strip(b"'\"").rpartition(b"/")[2]
        if name not in (b"", b".", b"..") and len(name) <= _LONGEST_NAME and b"\0" not in name:
            names.append(printable(name))
    return names or None

"""The files of a rosbag2 by its own ``metadata.yaml``, which is written when the bag is closed."""

from __future__ import annotations

NAME = "metadata.yaml"
MOST_BYTES = 1024 * 1024
"""A bag of 1000 topics has 400 KB; what is longer is no such list."""
_MOST = 1000
_LIST = "relative_file_paths:"


def listed_files(text: str) -> list[str] | None:
    """Return the names that *text* lists; None: it has no such list.

    Not YAML in general: of what rosbag2 writes, one name to a line. What reads otherwise lists nothing.
    """
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == _LIST:
            break
    else:
        return None
    names: list[str] = []
    for line in lines:
        entry = line.strip()
        if not entry.startswith("- ") or len(names) >= _MOST:
            break
        name = entry[2:].strip().strip("'\"").rpartition("/")[2]
        if name:
            names.append(name)
    return names or None

"""The faults that no test notices, each with its reason: `survivors.txt`, a line each."""

from __future__ import annotations

from pathlib import Path

REASONS = {
    "equivalent": "the program does the same",
    "logging": "only a line of the log is another",
    "tuning": "a figure chosen by measuring: another one would do, and a test would only repeat it",
    "defence": "a second line behind one that is tested, out of reach from outside",
    "gap": "a test should notice; none does yet",
}
HARMLESS = frozenset({"equivalent", "logging"})
"""What the program does for its users is the same."""

_LIST = Path(__file__).with_name("survivors.txt")


def reasons(text: str | None = None) -> dict[str, str]:
    """Return site name to reason.

    Raises:
        ValueError: a line is not ``reason<blank>name``, or its reason is none of `REASONS`.
    """
    found: dict[str, str] = {}
    for line in (_LIST.read_text() if text is None else text).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        reason, _, name = line.partition(" ")
        if reason not in REASONS or not name.strip():
            raise ValueError(f"not a reason and a site: {line!r}")
        found[name.split("  # ")[0].strip()] = reason
    return found

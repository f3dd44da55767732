"""What a device says is safe here, compared with what is: a recording that this server never completed.

A device tells name and length of what it holds, and whether that was verified. Each of those has an upload
here that is complete, also where `[retention]` has removed the file since. Two of one length are told apart
by their names, as far as the device has not renamed them: one is missing only where no upload is left for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ingest_server.storage.interface import FleetStore, Held

SAFE = "verified"
"""What a device says of a recording of which it has this server's receipt."""
_PAGE = 500

Completed = Callable[[str, Sequence[int]], list[tuple[int, str]]]
"""Length and name of a device's complete uploads that have one of these lengths."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Recordings that are safe according to their device alone."""

    count: int = 0
    name: str = ""
    """Of the newest."""


NOTHING = Missing()


def compare(store: FleetStore, completed: Completed, device: str) -> Missing:
    """Return what of *device* is missing here.

    Raises:
        Refused: a database failed.
    """
    safe: dict[int, list[Held]] = {}
    for one in _held(store, device):
        if one.state == SAFE:
            safe.setdefault(one.length, []).append(one)
    missing: list[Held] = []
    lengths = list(safe)
    for at in range(0, len(lengths), _PAGE):
        page = lengths[at : at + _PAGE]
        here: dict[int, Counter[str]] = {length: Counter() for length in page}
        for length, name in completed(device, page):
            here[length][name] += 1
        for length in page:
            missing += _unmatched(safe[length], here[length])
    newest = max(missing, key=lambda one: one.mtime_s, default=None)
    return Missing(len(missing), "" if newest is None else newest.name)


def _unmatched(safe: Sequence[Held], here: Counter[str]) -> list[Held]:
    """Return those of one length for which no upload is left."""
    left = []
    for one in safe:
        if here[one.name] > 0:
            here[one.name] -= 1
        else:
            left.append(one)
    return left[here.total() :]


def _held(store: FleetStore, device: str) -> Iterator[Held]:
    after = None
    while True:
        page = store.holds(device, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = (page[-1].mtime_s, page[-1].file_id)

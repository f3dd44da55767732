"""Addresses of a name under a time limit: ``getaddrinfo`` itself has none.

What worked last is remembered: on a bad link the name server is the first that does not answer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

_LIMIT_S = 3.0
_REMEMBERED = 16
_AGAIN_S = 10.0
"""Between two questions beforehand: each look at the rules would be one, and may cost."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
"""Of `socket.connect`."""


@dataclass
class _Lookup:
    is_done: threading.Event = field(default_factory=threading.Event)
    found: list[Address] = field(default_factory=list)
    error: OSError | None = None


class Resolver:
    """Safe to use from several threads.

    Args:
        lookup: asks the system; like `socket.getaddrinfo`.
    """

    def __init__(
        self, lookup: Callable[..., Any] = socket.getaddrinfo, *, limit_s: float = _LIMIT_S
    ) -> None:
        self._lookup = lookup
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], _Lookup] = {}
        self._known: dict[tuple[str, int], list[Address]] = {}
        self._foreseen: dict[tuple[str, int], float] = {}
        """When it was last asked for beforehand: of one server, there is no other."""

    def addresses(self, host: str, port: int, limit_s: float | None = None) -> list[Address]:
        """Return where *host* is, in turns of IPv6 and IPv4, what the system prefers first.

        Raises:
            OSError: nobody knows, or nobody answers, and it was never known before.
        """
        limit_s = self._limit_s if limit_s is None else min(limit_s, self._limit_s)
        lookup = self._begin((host, port))
        lookup.is_done.wait(limit_s)
        with self._lock:
            if lookup.found:
                return list(lookup.found)
            known = self._known.get((host, port))
        if known:
            return list(known)
        if lookup.error is not None:
            raise lookup.error
        msg = f"no answer from the name server within {limit_s:.0f} s for {host}"
        raise TimeoutError(msg)

    def known(self, host: str, port: int) -> list[str]:
        """Return the addresses that were found last, without asking anybody."""
        with self._lock:
            return [str(peer[0]) for _, peer in self._known.get((host, port), ())]

    def foreseen(self, host: str, port: int, now_s: float) -> list[str]:
        """Return the same; while nothing is known begin to ask, now and then, and wait for nobody.

        Who decides by the address has it then before the first connection, most likely. A device that starts
        before its network does gets no answer at first.

        Args:
            now_s: monotonic.
        """
        key = (host, port)
        with self._lock:
            is_due = key not in self._known and self._foreseen.get(key, -inf) + _AGAIN_S <= now_s
            if is_due:
                self._foreseen = {key: now_s}
        if is_due:
            self._begin(key)
        return self.known(host, port)

    def _begin(self, key: tuple[str, int]) -> _Lookup:
        with self._lock:
            lookup = self._running.get(key)
            if lookup is not None:  # one that hangs is waited for, not multiplied
                return lookup
            lookup = self._running[key] = _Lookup()
        asking = threading.Thread(target=self._run, args=(key, lookup), name="names", daemon=True)
        try:
            asking.start()
        except RuntimeError as error:  # no thread is left: the next one asks again
            self._end(key, lookup, [], OSError(str(error)))
        return lookup

    def _run(self, key: tuple[str, int], lookup: _Lookup) -> None:
        try:
            rows = self._lookup(key[0], key[1], type=socket.SOCK_STREAM)
            found = _in_turns([(family, peer) for family, _, _, _, peer in rows])
        except Exception as error:  # noqa: BLE001 - else this name is waited for for ever
            self._end(key, lookup, [], error if isinstance(error, OSError) else OSError(str(error)))
        else:
            self._end(key, lookup, found, None)

    def _end(
        self, key: tuple[str, int], lookup: _Lookup, found: list[Address], error: OSError | None
    ) -> None:
        with self._lock:
            lookup.found, lookup.error = found, error
            del self._running[key]
            if found:
                self._known.pop(key, None)
                self._known[key] = found
                while len(self._known) > _REMEMBERED:
                    del self._known[next(iter(self._known))]
        lookup.is_done.set()


SHARED = Resolver()
"""One memory for all lanes and the link watch: they lead to the same server."""


def _in_turns(addresses: list[Address]) -> list[Address]:
    """Return *addresses* with the families in turns (RFC 8305, section 4)."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    other = [one for one in addresses if one[0] != addresses[0][0]]
    mixed: list[Address] = []
    while first or other:
        mixed += first[:1] + other[:1]
        first, other = first[1:], other[1:]
    return mixed

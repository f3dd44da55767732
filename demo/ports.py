"""Free ports on loopback."""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

LOOPBACK = "127.0.0.1"
HANDED_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The first and the last port that clients get."""
_TRIES = 20


def _left_alone() -> range:
    """Return the ports that the kernel gives to nobody by itself: those below the ones of clients."""
    try:
        return range(16_384, int(HANDED_OUT.read_text("ascii").split()[0]))
    except (OSError, ValueError, IndexError):
        return range(0)


def free_port(preferred: int = 0) -> int:
    """Return *preferred* when nothing listens there, else a port that nobody uses.

    It is not one of those that the kernel hands out, if there are others: a server that is killed and started
    again on its port would find it taken by a client of anybody. Somebody else may take it before it is used
    all the same; whoever binds it must say so clearly.
    """
    others = _left_alone()
    # Not the shared generator: whoever seeds it alike in several processes would get the same port in each.
    drawn = SystemRandom().sample(others, min(_TRIES, len(others)))
    for port in (*([preferred] if preferred else []), *drawn, 0):
        with socket.socket() as probe:
            # As the programs themselves do: a port in TIME_WAIT from the last run is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                if not port:
                    raise
                continue
            found: int = probe.getsockname()[1]
            return found
    raise AssertionError("the kernel's own choice is the last one")


def is_listening(port: int) -> bool:
    """Return whether something accepts connections at *port*."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False

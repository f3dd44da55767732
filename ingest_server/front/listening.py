"""Why an address cannot be listened on, and what to do about it."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from ingest_server.core.errors import ServerError
from ingest_server.front.address import ListenAddress


class ListenError(ServerError):
    """The server cannot listen; the text is a sentence for the operator."""

    def __init__(self, address: ListenAddress, error: OSError) -> None:
        super().__init__(_why_not(address, error))


def remove_stale_socket(path: Path) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        OSError: EADDRINUSE, somebody does; EEXIST, it is no socket and not ours to remove.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "exists and is no socket", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process listens on it", str(path))


_ADVICE = {
    errno.EADDRINUSE: "another program listens there: stop it or set another [server] listen",
    errno.EACCES: "this user may not: take a port from 1024 up or give the unit CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address: correct [server] listen",
    errno.ENOENT: "the folder of the socket does not exist: create it or correct [server] listen",
    errno.EEXIST: "a file that is no socket is in the way: remove it or correct [server] listen",
}


def _why_not(address: ListenAddress, error: OSError) -> str:
    number = error.errno or 0
    reason = _ADVICE.get(number) or (os.strerror(number) if number else str(error))
    return f"Cannot listen on {address}: {reason}."

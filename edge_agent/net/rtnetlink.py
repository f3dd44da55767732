"""The kernel's news about interfaces, addresses and routes (rtnetlink), from a raw socket."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE of linux/rtnetlink.h."""

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_IFF_LOWER_UP: Final = 1 << 16
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_READ_BYTES: Final = 64 * 1024


class LinkNews:
    """Says that something about the links has changed. Costs nothing while nothing does.

    Raises:
        OSError: no such socket here (some containers); do without.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> bool:
        """Take all that has arrived; return whether a link may have come back with it.

        Raises:
            OSError: nothing more will be heard from here.
        """
        is_good = False
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return is_good
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                is_good = True  # some news were lost, so anything may have happened
                continue
            is_good = is_good or says_up(data)


def says_up(data: bytes) -> bool:
    """Return whether *data* tells of a link with a carrier, a new address, or a new route."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return False
        if kind in {_NEW_ADDRESS, _NEW_ROUTE}:
            return True
        if kind == _NEW_LINK and at + _HEADER.size + _LINK.size <= len(data):
            flags = _LINK.unpack_from(data, at + _HEADER.size)[3]
            if flags & _IFF_LOWER_UP:
                return True
        at += (length + 3) & ~3
    return False

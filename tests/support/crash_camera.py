"""Cameras that record onto a disk whose power is cut, and what must be true of their recordings after that.

Each byte of a recording follows from its name, but for four of its header, which are written at the close. Beside
each lies a file of the same name, of which all follows from that.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.support.recordings import sha256

MIB = 2**20
_PIECE_BYTES = 64 * 1024
_HEADER = slice(40, 44)
_LONGEST = 4 * MIB


@lru_cache(maxsize=64)
def content(number: int) -> bytes:
    """Return the longest recording of that number, its header as it is before the close."""
    return random.Random(number).randbytes(_LONGEST)


def is_of(number: int, data: bytes) -> bool:
    """Return whether *data* is a recording of that number, or the beginning of one."""
    expected = bytearray(content(number)[: len(data)])
    expected[_HEADER] = data[_HEADER]
    return bytes(expected) == data


def beside(number: int) -> bytes:
    """Return what is in the file beside the recording of that number."""
    return b"%d at 48.1 N\n" % number * 200


def is_of_name(name: str, data: bytes) -> bool:
    """Return whether *data* is what a file of that name has, or the beginning of that."""
    number = number_of(name)
    return beside(number).startswith(data) if name.endswith(".srt") else is_of(number, data)


def number_of(name: str) -> int:
    return int(name.partition(".")[0])


@dataclass(frozen=True, slots=True)
class Finished:
    """A recording that is closed, and durable by its last name."""

    name: str
    digest: str


class Camera(threading.Thread):
    """Records into *folder* until it is stopped: one file after the other, in pieces, a few MiB each.

    Every other one has another name before its close. Some are synced by the recorder, as good ones
    are; what is not reaches the disk when the kernel likes.
    """

    def __init__(self, folder: Path, first: int, *, bytes_per_s: float = 3e6) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._first = first
        self._bytes_per_s = bytes_per_s
        self._ended = threading.Event()
        self.finished: list[Finished] = []
        """Grows only, so that its length at an instant says what was finished by then."""

    def run(self) -> None:
        number = self._first
        while not self._ended.is_set():
            self._record(number)
            number += 1

    def stop(self) -> None:
        self._ended.set()
        self.join(20)

    def _record(self, number: int) -> None:
        draw = random.Random(number)
        data = content(number)[: draw.randrange(MIB, _LONGEST)]
        is_renamed = number % 2 == 0
        path = self._folder / f"{number}.live.mp4" if is_renamed else self._folder / f"{number}.mp4"
        began_s = time.monotonic()
        with path.open("wb", buffering=0) as file:
            for at in range(0, len(data), _PIECE_BYTES):
                file.write(data[at : at + _PIECE_BYTES])
                if self._ended.wait(max(0.0, began_s + at / self._bytes_per_s - time.monotonic())):
                    return
            os.pwrite(file.fileno(), b"size", _HEADER.start)
            is_synced = draw.random() < 0.5
            if is_synced:
                os.fsync(file.fileno())
        last = self._folder / f"{number}.mp4"
        path.rename(last)
        with last.with_suffix(".srt").open("wb", buffering=0) as file:
            file.write(beside(number))
            if is_synced:
                os.fsync(file.fileno())
        if is_synced:
            _sync_folder(self._folder)
            self.finished.append(Finished(last.name, _digest(data)))
            whole = hashlib.sha256(beside(number)).hexdigest()
            self.finished.append(Finished(last.with_suffix(".srt").name, whole))


def _digest(data: bytes) -> str:
    whole = bytearray(data)
    whole[_HEADER] = b"size"
    return hashlib.sha256(whole).hexdigest()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def digests(folder: Path) -> dict[str, str]:
    """Return name -> digest of all recordings below *folder*."""
    return {path.name: sha256(path) for path in folder.rglob("*") if path.is_file()}

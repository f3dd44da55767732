"""A recorder in a process of its own that takes away what it has begun: ``python -m`` this, with a way and a path.

It goes on with each line that it is given: it writes, then puts another recording in its place, then ends it.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
MIB = 2**20
FIRST_BYTES, MORE_BYTES = 4 * MIB, MIB + 7
WAYS = ("renamed over", "deleted", "deleted and written on", "cut short")


def piece(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


FIRST = piece(1, FIRST_BYTES) + piece(2, MORE_BYTES)
SECOND = piece(3, FIRST_BYTES) + piece(4, MORE_BYTES)


def digests(*contents: bytes) -> list[str]:
    return sorted(hashlib.sha256(one).hexdigest() for one in contents)


class Recorder:
    """What a test sees of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def go_on(self) -> None:
        """Let it do what is next; return when that is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def recorder(way: str, path: Path) -> Iterator[Recorder]:
    with subprocess.Popen(
        [sys.executable, "-m", __name__, way, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Recorder(process)
        finally:
            process.kill()


def _record(way: str, path: Path) -> Iterator[None]:
    with path.open("xb", buffering=0) as first:
        first.write(FIRST[:FIRST_BYTES])
        yield
        second = _replaced(way, path, first)
        if way == "cut short":
            second.write(SECOND[:MIB])
            yield
        second.write(SECOND[second.tell() : FIRST_BYTES])
        if way == "deleted and written on":
            yield
            first.write(b"and more")
    yield
    second.write(SECOND[FIRST_BYTES:])
    second.close()
    yield


def _replaced(way: str, path: Path, first: FileIO) -> FileIO:
    first.write(FIRST[FIRST_BYTES:])
    if way == "renamed over":
        hidden = path.with_name(f".{path.name}.next")
        second = hidden.open("xb", buffering=0)
        hidden.rename(path)
    elif way == "cut short":
        first.truncate(0)
        second = path.open("r+b", buffering=0)
    else:
        path.unlink()
        second = path.open("xb", buffering=0)
    return second


def main() -> None:
    for _ in _record(sys.argv[1], Path(sys.argv[2])):
        print("done", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    sys.stdin.readline()
    main()

"""The real stores of bytes, each with disks that fail where a test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.interface import Blobs, Claim, Part
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.write_once import WriteOnceBlobs
from ingest_server.storage.s3.blobs import S3Blobs


class FaultyPart:
    """A hand of a real store whose steps are told before they are taken."""

    def __init__(self, part: Part, blobs: Faulty) -> None:
        self._part = part
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._blobs.step("pwrite")
        self._part.pwrite(data, offset)

    def write_out(self, length: int, offset: int) -> None:
        self._blobs.step("write_out")
        self._part.write_out(length, offset)

    def copy_from(self, source: Any, length: int, *, start: int, offset: int) -> None:
        self._blobs.step("copy")
        self._part.copy_from(getattr(source, "_part", source), length, start=start, offset=offset)

    def sync(self) -> None:
        self._blobs.step("sync")
        self._part.sync()


if TYPE_CHECKING:
    _Store = Blobs
else:
    _Store = object


class Faulty(_Store):
    """``fail[step]`` is called before each step and may raise."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fail: dict[str, Callable[[], None]] = {}
        self.seen: list[str] = []
        self.free: int | None = None
        """Bytes that the disk has left; None: as many as it really has."""

    def rot(self, upload_id: str, at: int) -> None:
        """Let one bit of the stored byte *at* flip by itself, where a test can reach it."""
        raise NotImplementedError

    def free_bytes(self) -> int:
        return super().free_bytes() if self.free is None else self.free

    def step(self, name: str) -> None:
        self.seen.append(name)
        if name in self.fail:
            self.fail[name]()

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Any:
        self.step("open")
        return FaultyPart(super().open_part(upload_id, claim), self)

    def open_published(self, target: str) -> Any:
        self.step("read published")
        return super().open_published(target)

    def is_taken(self, target: str) -> bool:
        self.step("look")
        return super().is_taken(target)

    def stage(self, upload_id: str, is_stopping: Any) -> Any:
        self.step("before staging")
        staged = super().stage(upload_id, is_stopping)
        try:
            self.step("after staging")
        except BaseException:
            if staged is not None:
                staged.close()
            raise
        return staged

    def publish(self, upload_id: str, target: str, about: Any = None) -> bool:
        self.step("before link")
        made = super().publish(upload_id, target, about)
        self.step("after link")
        return made

    def publish_again(self, source: str, target: str) -> bool:
        self.step("link again")
        return super().publish_again(source, target)

    def sync_published(self, target: str) -> None:
        super().sync_published(target)
        self.step("after folders")

    def announce(self, target: str, *, is_late: bool = False) -> None:
        self.step("before announcing")
        super().announce(target, is_late=is_late)

    def remove_part(self, upload_id: str) -> None:
        self.step("before unlink")
        super().remove_part(upload_id)


class FaultyFiles(Faulty, FileBlobs):
    def rot(self, upload_id: str, at: int) -> None:
        """Let one bit of the stored byte *at* flip by itself."""
        with (self.data_dir / "parts" / f"{upload_id}.part").open("r+b") as part:
            part.seek(at)
            byte = part.read(1)[0]
            part.seek(at)
            part.write(bytes([byte ^ 1]))


class FaultyBucket(Faulty, S3Blobs):
    """Objects of a real S3 store."""


class FaultyCopies(FaultyFiles):
    """Files on a volume without hard links."""

    def _try_a_link(self) -> bool:
        return False


class FaultyMemory(Faulty, OverwritingBlobs):
    def rot(self, upload_id: str, at: int) -> None:
        self._uploads[upload_id].data[at] ^= 1


class FaultyParts(Faulty, WriteOnceBlobs):
    def rot(self, upload_id: str, at: int) -> None:
        objects = self._uploads[upload_id]
        for number, one in enumerate(objects):
            if one.start <= at < one.stop:
                data = bytearray(one.data)
                data[at - one.start] ^= 1
                objects[number] = replace(one, data=bytes(data))


def failing(error: BaseException, *, after: int = 0) -> Callable[[], None]:
    """Raise *error* at each call, the first *after* calls spared."""
    calls = count()

    def fail() -> None:
        if next(calls) >= after:
            raise error

    return fail

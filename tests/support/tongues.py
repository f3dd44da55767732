"""How clients of each protocol bring one file in small requests, and end it; all may be asked again.

A tongue begins an upload, brings bytes of what is still missing, and says that it is all. How far it has come,
and whether it is done, `GET /v1/uploads/{id}` tells of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType

import httpx

from edge_agent.core.plan import within_borders
from ingest_server.storage.s3.pieces import PART_BYTES
from tests.support.compat_site import md5
from tests.support.direct import ask_to_sign, at_store, done
from tests.support.secured import complete, create, put
from tests.support.tus_client import BYTES, TUS, b64, metadata
from upload_protocol.ranges import ByteRange, RangeSet

KB = 1000


@dataclass(frozen=True, slots=True)
class File:
    """What is to be brought."""

    name: str
    data: bytes
    key: str
    """Of the request that begins it, the same each time."""
    step: int
    """The most bytes in one request."""


class Tongue:
    """The native protocol: any range, in any order."""

    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        """Begin an upload; return the answer, and how many bytes it acknowledges if it is a good one."""
        return create(client, key=file.key, name=file.name, length=len(file.data)), 0

    def id_in(self, answer: httpx.Response) -> str:
        return str(answer.json()["id"])

    def next_range(self, file: File, gaps: RangeSet) -> ByteRange:
        """Return what is brought next; the protocols of others go from the first byte to the last."""
        start = next(iter(gaps)).start
        return ByteRange(start, min(start + file.step, len(file.data)))

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        return put(client, upload, file.data[where.start : where.stop], start=where.start)

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        return complete(client, upload, file.data)


class Straight(Tongue):
    """Bytes go to the store by what the server signs, and through the server where that is refused."""

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        parts = [(one.start, one.stop) for one in within_borders(where, PART_BYTES)]
        answer = ask_to_sign(client, upload, file.data, *parts)
        if answer.status_code == 200:
            signed = answer.json()["parts"]
            if all(at_store(one, file.data).status_code in {200, 412} for one in signed):
                answer = done(client, upload, *signed)
                if answer.status_code == 200:
                    return answer
        return super().send(client, upload, file, where)


class Tus(Tongue):
    """The last byte ends it; whoever asks by HEAD has it gone on with."""

    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        told = metadata(filename=file.name, sha256=hashlib.sha256(file.data).hexdigest())
        length = str(len(file.data))
        headers = {"Upload-Length": length, "Upload-Metadata": told, "Idempotency-Key": file.key}
        return client.post("/files/", headers={**TUS, **headers}), 0

    def id_in(self, answer: httpx.Response) -> str:
        return answer.headers["Location"].rstrip("/").rpartition("/")[2]

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        headers = {**BYTES, "Upload-Offset": str(where.start)}
        return client.patch(
            f"/files/{upload}", content=file.data[where.start : where.stop], headers=headers
        )

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        return client.head(f"/files/{upload}", headers=TUS)


class Ietf(Tus):
    """As tus, and an empty request says that it is all."""

    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        headers = {
            "Upload-Complete": "?0",
            "Upload-Length": str(len(file.data)),
            "Content-Disposition": f'inline; filename="{file.name}"',
            "Repr-Digest": f"sha-256=:{b64(hashlib.sha256(file.data).digest())}:",
            "Idempotency-Key": file.key,
        }
        return client.post("/files/", headers=headers), 0

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        return self._append(client, upload, file.data[where.start : where.stop], where.start, "?0")

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        return self._append(client, upload, b"", len(file.data), "?1")

    def _append(
        self, client: httpx.Client, upload: str, data: bytes, start: int, is_all: str
    ) -> httpx.Response:
        headers = {
            "Upload-Offset": str(start),
            "Upload-Complete": is_all,
            "Content-Type": "application/partial-upload",
        }
        return client.patch(f"/files/{upload}", content=data, headers=headers)


def _range(file: File, where: ByteRange) -> dict[str, str]:
    return {"Content-Range": f"bytes {where.start}-{where.stop - 1}/{len(file.data)}"}


def _part(file: File, where: ByteRange) -> dict[str, tuple[str, bytes]]:
    return {"file": (file.name, file.data[where.start : where.stop])}


class Frago(Tongue):
    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        document = {"filename": file.name, "total_size": len(file.data)}
        return client.post("/compat/frago/upload/", json=document), 0

    def id_in(self, answer: httpx.Response) -> str:
        return str(answer.json()["upload_id"]).replace("-", "")

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        return client.put(
            f"/compat/frago/upload/{upload}/", headers=_range(file, where), files=_part(file, where)
        )

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        return client.post(f"/compat/frago/upload/{upload}/", json={"checksum": md5(file.data)})


class Drf(Tongue):
    """Its first bytes begin it."""

    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        first = ByteRange(0, min(file.step, len(file.data)))
        return self.send(client, "", file, first), first.stop

    def id_in(self, answer: httpx.Response) -> str:
        return str(answer.json()["id"]).replace("-", "")

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        return client.put(
            f"/compat/drf/upload/{upload}",
            headers=_range(file, where),
            data={"filename": file.name},
            files=_part(file, where),
        )

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        return client.post(f"/compat/drf/upload/{upload}", data={"md5": md5(file.data)})


class Django(Drf):
    def id_in(self, answer: httpx.Response) -> str:
        return str(answer.json()["upload_id"])

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        known = {"upload_id": upload} if upload else {}
        headers = _range(file, where)
        return client.post(
            "/compat/django/upload/", headers=headers, data=known, files=_part(file, where)
        )

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        known = {"upload_id": upload, "md5": md5(file.data)}
        return client.post("/compat/django/upload_complete/", data=known)


class Turbo(Tongue):
    """Chunks of one size by their numbers."""

    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        return client.post("/compat/turbo/upload/", data={"filename": file.name}), 0

    def id_in(self, answer: httpx.Response) -> str:
        return str(answer.json()["id"]).replace("-", "")

    def next_range(self, file: File, gaps: RangeSet) -> ByteRange:
        start = next(iter(gaps)).start // file.step * file.step
        return ByteRange(start, min(start + file.step, len(file.data)))

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        number = {"order": where.start // file.step}
        return client.post(f"/compat/turbo/upload/{upload}", data=number, files=_part(file, where))

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        """Ask for it; chunks whose bytes are there, and that nobody acknowledged, are brought again first."""
        path, told = f"/compat/turbo/upload/complete/{upload}", {"md5": md5(file.data)}
        answer = client.get(path, params=told)
        if answer.status_code not in {400, 404}:
            return answer
        for start in range(0, len(file.data), file.step):
            chunk = ByteRange(start, min(start + file.step, len(file.data)))
            answer = self.send(client, upload, file, chunk)
            if not answer.is_success:
                return answer
        return client.get(path, params=told)


class DjangoInit(Tongue):
    """Says how much there is, then brings chunks with a hash of each; the last one ends it."""

    path = "/compat/django-init/upload"

    def begin(self, client: httpx.Client, file: File) -> tuple[httpx.Response, int]:
        told = {"file_name": file.name, "file_size": len(file.data), "hash_function": "SHA256"}
        return client.post(f"{self.path}/init", data=told), 0

    def id_in(self, answer: httpx.Response) -> str:
        return str(answer.json()["unique_id"]).replace("-", "")

    def next_range(self, file: File, gaps: RangeSet) -> ByteRange:
        start = next(iter(gaps)).start // file.step * file.step
        return self._chunk_at(file, start)

    def send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        """Bring a chunk, and before it those whose bytes are there while nobody has checked their hash."""
        answer = client.post(f"{self.path}/init", data={"unique_id": upload})
        if not answer.is_success:
            return answer
        start = min(answer.json()["offset"], where.start)
        while True:
            chunk = self._chunk_at(file, start)
            answer = self._send(client, upload, file, chunk)
            if not answer.is_success or chunk.stop >= where.stop:
                return answer
            start = chunk.stop

    def _send(
        self, client: httpx.Client, upload: str, file: File, where: ByteRange
    ) -> httpx.Response:
        hashes = [
            hashlib.sha256(file.data[at : at + file.step]).hexdigest()
            for at in range(0, where.stop, file.step)
        ]
        known = {"unique_id": upload, "offset": where.start, "chunk_hash": hashes[-1]}
        chain = reduce(
            lambda so_far, one: hashlib.sha256((so_far + one).encode()).hexdigest(), hashes
        )
        told = {**known, "final_hash": chain} if where.stop == len(file.data) else known
        return client.post(self.path, data=told, files=_part(file, where))

    def finish(self, client: httpx.Client, upload: str, file: File) -> httpx.Response:
        last = (len(file.data) - 1) // file.step * file.step
        return self.send(client, upload, file, self._chunk_at(file, last))

    def _chunk_at(self, file: File, start: int) -> ByteRange:
        return ByteRange(start, min(start + file.step, len(file.data)))


TONGUES: Mapping[str, Tongue] = MappingProxyType(
    {
        "native": Tongue(),
        "tus": Tus(),
        "ietf": Ietf(),
        "frago": Frago(),
        "drf": Drf(),
        "django": Django(),
        "turbo": Turbo(),
        "django-init": DjangoInit(),
    }
)

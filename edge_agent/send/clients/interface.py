"""What a client of a server must do, whatever it speaks: six duties, and more by capability.

A lane calls, in this order and each as often as it likes: `create`, `status` after a break, `send` for
each missing range, `blocks` where the server holds other bytes than we do, `complete`; and `probe` when
somebody else than the server seems to answer.

**On error** a method raises a `TransportError` (`base.errors` says which one asks for what), or passes a
body's `SourceError` on as it is; nothing of a library leaves. An error never means that nothing was
done: a request whose answer was lost may have done all of it.

**On repetition** every method may be called again with the same arguments, over another connection and
after a restart, and does its work once: `create` finds the upload of its key, `send` keeps what is there
(of equal bytes), `complete` gives the same receipt.

What not every server can do is a protocol of its own (`CanAbort`, `CanAskByDigest`, `CanExtend`,
`CanSendDirect`, `CanEnrol`), asked for where it is needed with ``isinstance``; a further capability is a
further protocol and no seventh duty.
`tests/contract/test_clients.py` is the suite that every client passes.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from upload_protocol.direct import Part, SentPart, SignedPart
from upload_protocol.groups import GroupReport, GroupStatus
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Probe,
    Receipt,
    UploadStatus,
)
from upload_protocol.ranges import ByteRange


@dataclass(frozen=True, slots=True)
class Pending:
    """The server is verifying; ask again."""

    retry_after_s: float | None


class UploadClient(Protocol):
    """The six duties. One thread at a time."""

    def probe(self, nonce: str) -> Probe:
        """Ask who is there; changes nothing.

        Raises:
            NotOurServerError: whoever answers does not know the nonce: a captive portal.
        """

    def create(self, request: CreateRequest, key: str) -> UploadStatus:
        """Create an upload, or find the one that *key* created before.

        Raises:
            RejectedError: the server never takes this file.
            UploadLostError: the key belongs to another file (``idempotency-key-reused``).
            ServerBusyError: not now: busy, full, or the quota is used up.
        """

    def status(self, upload_id: str) -> UploadStatus:
        """Return what the server holds; what a broken `send` has left is settled before it answers.

        Raises:
            UploadLostError: there is no such upload, or none any more.
        """

    def send(
        self, upload_id: str, where: ByteRange, length: int | None, body: Iterator[bytes]
    ) -> UploadStatus:
        """Send the bytes of *where*; what the answer has in `received` is durable.

        Args:
            length: of the whole file; None: not known yet.
            body: yields exactly the bytes of *where*; used once, perhaps not to its end: an answer that
                comes early ends the sending.

        Raises:
            ConflictError: the upload takes no bytes now (``not-open``), or a newer request took over.
            LinkDownError: any prefix of the bytes may have arrived; `status` tells.
        """

    def blocks(
        self, upload_id: str, *, block_bytes: int, start: int, limit: int
    ) -> BlockDigests | None:
        """Return the digests of *limit* blocks from number *start*: what a repair compares.

        Only blocks that are fully received are in it. None: not offered here, and all goes again.
        """

    def complete(self, upload_id: str, request: CompleteRequest) -> Receipt | Pending:
        """Ask to verify and publish; the same answer however often it is asked.

        Raises:
            ConflictError: ``ranges-missing``, with the ranges; ``digest-mismatch``: the server holds
                other bytes, and takes bytes again.
        """


class LaneClient(UploadClient, Protocol):
    """An `UploadClient` over one connection at a time, which other threads may look at and break off."""

    def abort(self) -> None:
        """From any thread: break the running request off and refuse new ones, until `resume`.

        Both end with an `AbortedError`.
        """

    def resume(self) -> None:
        """From any thread: take requests again."""

    def cut(self) -> None:
        """From any thread: break the running request off with a `LinkBackError`; none runs: nothing."""

    def live_socket(self) -> socket.socket | None:
        """Return the connection that is open or was last, for looking only; None: there is none."""

    def credential(self) -> bytes | None:
        """Return something that is equal only while our login is the same; None: there is no usable one."""

    def close(self) -> None:
        """Let the connection go; nothing else is called afterwards."""


class CanTellOfGroups(Protocol):
    """The server may be told which recordings belong together. One thread at a time, but for `abort`."""

    def tell_of_group(self, report: GroupReport) -> GroupStatus | None:
        """Say what a group is; return what the server has of it. None: it knows no groups.

        Raises:
            RejectedError: what is said is not taken as it is.
        """

    def abort(self) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class CanAbort(Protocol):
    """The server lets an upload be given up."""

    def abort_upload(self, upload_id: str) -> bool:
        """Give an upload up; one that the server does not know is given up already.

        Returns:
            Whether that got through; something on the way may not let it, and then the upload is left
            to expire.
        """


@runtime_checkable
class CanAskByDigest(Protocol):
    """The server may have a recording already, and says so by its digest."""

    def ask_by_digest(self, request: CreateRequest, key: str) -> UploadStatus | Pending:
        """Create as `UploadClient.create`, or find what it has made, with a digest in *request*.

        The upload is complete if this device has published these bytes, and open if not. `Pending`:
        the server has to look first.

        Raises:
            RejectedError: the server never takes this file.
            UploadLostError: the key belongs to another file (``idempotency-key-reused``).
            ServerBusyError: not now.
        """


@runtime_checkable
class CanExtend(Protocol):
    """The server may have the beginning of a recording, and copies it."""

    def extend(self, request: CreateRequest, key: str) -> UploadStatus | Pending:
        """Create as `UploadClient.create`, with what *request* extends at the start of the upload.

        What the server has of it is in `received`, and may differ from the file. `Pending`: it goes on
        copying when it is asked again.

        Raises: as `UploadClient.create`.
        """


@runtime_checkable
class CanSendDirect(Protocol):
    """The server lets bytes be sent straight to its store, where an upload's limits say so."""

    def sign_parts(self, upload_id: str, parts: Sequence[Part]) -> Sequence[SignedPart]:
        """Return where each of *parts* goes; older requests for their bytes end.

        Raises:
            NotDirectError: they go through the server.
            ConflictError: the upload takes no bytes now.
        """

    def put_part(self, part: SignedPart, body: Iterator[bytes]) -> None:
        """Send one part to the store; not acknowledged before it is reported.

        Args:
            part: where it goes.
            body: yields exactly its bytes; used once, perhaps not to its end.

        Raises:
            NotDirectError: the store was not reached or did not take it; any of it may be there.
        """

    def report_parts(self, upload_id: str, parts: Sequence[SentPart]) -> UploadStatus:
        """Say that the store has *parts*; what the answer has in `received` is durable.

        Raises:
            NotDirectError: the store has them not as they were signed: they go through the server.
            ConflictError: a newer request took over, or the upload takes no bytes now.
        """


@runtime_checkable
class CanEnrol(Protocol):
    """The server gives devices their tokens."""

    def claim(self, claim_token: str, device: str, serial: str) -> str:
        """Return the first token of *device*; the same device may ask again after a lost answer.

        Raises:
            UnauthorizedError: the claim token is not good, or the device had its token before.
        """

    def rotate(self) -> str:
        """Return the token that follows ours; ours is good until that one is used."""


class EnrolmentClient(LaneClient, CanEnrol, Protocol):
    """What a device gets its tokens by."""

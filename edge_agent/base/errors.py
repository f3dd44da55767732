"""What can go wrong on the device, by what the caller should do.

AgentError
├── ConfigError            a person must mend the configuration (exit 78)
├── StoreError             the state database cannot be used; the message says what to do
│   ├── StoreTooNewError   written by a newer version: upgrade, or move it aside
│   └── StaleRecordingError another worker moved it meanwhile: read it again
├── SourceError            the file, not the link
│   ├── SourceChangedError    other bytes than before: wait until it is finished, hash again
│   ├── SourceVanishedError   gone
│   ├── SourceSilentError     its file system does not answer: nothing is known of it
│   └── SourceUnreadableError exists, cannot be read (permission, bad card)
└── TransportError         a request did not do its work
    ├── LinkDownError      nothing came back: the bytes may or may not have arrived
    │   ├── LinkBackError     given up for a new connection, which works: at once
    │   └── UntrustedError    the server's certificate is not accepted: wait, or for a new ca_file
    ├── ClockError         our clock is wrong: wait until it is set
    ├── AbortedError       we stopped it ourselves
    ├── NotOurServerError  an answer, but not from an ingest server (captive portal, proxy)
    │   ├── ChannelError      an ingest server refuses how it is asked: never the file's fault
│   └── ForeignRefusalError  something on the way refuses the body of a request: another size, or method
    ├── ReportRefusedError what a report says is refused: find the part, tell the others
    ├── ServerBusyError    busy, full or broken: wait as told, or by our own backoff
    ├── UnauthorizedError  our login is not taken: wait for a person, never hammer, never "uploaded"
    ├── UploadLostError    not known, or known no more: create anew
    ├── ConflictError      not as we thought, or a body broke: look at the ranges, then go on
    ├── RejectedError      this file is refused: kept for a person
    └── ReceiptRefusedError  a receipt that is not for our bytes: never let go by it
"""

from __future__ import annotations

from typing import ClassVar

from edge_agent.core.left_out import Cause
from edge_host import errors
from upload_protocol.messages import Problem
from upload_protocol.ranges import RangeSet


class AgentError(Exception):
    """Base of all that this package raises on purpose."""


class ConfigError(AgentError, errors.ConfigError):
    """The configuration cannot be used."""


class StoreError(AgentError):
    """The state database cannot be used."""


class StoreTooNewError(StoreError):
    """The state database was written by a newer version."""


class StaleRecordingError(StoreError):
    """Another worker moved the recording since it was read; nothing was written."""

    def __init__(self, recording_id: str) -> None:
        super().__init__(f"recording {recording_id} was moved by another worker meanwhile")


class SourceError(AgentError):
    """The source file is not what it was."""


class SourceChangedError(SourceError):
    """The file's identity differs from the one that the upload began with."""


class SourceVanishedError(SourceError):
    """The file is gone."""


class SourceSilentError(SourceError):
    """The file system that the file lies on does not answer: wait, and ask nothing of the file."""


class SourceUnreadableError(SourceError):
    """The file exists and cannot be read: ``why`` is what its ``errno`` says."""

    def __init__(self, message: str, why: Cause) -> None:
        super().__init__(message)
        self.why = why


class TransportError(AgentError):
    """A request did not do its work."""


class LinkDownError(TransportError):
    """No answer came: connect, send or receive failed, or nothing moved for too long."""


class LinkBackError(LinkDownError):
    """A dead connection was given up because the link works: try again at once, over a new one."""


class UntrustedError(LinkDownError):
    """The server's certificate is not accepted: until it has another one, or we have another CA."""


class ClockError(TransportError):
    """The server's certificate is not yet valid by our clock, which boots in 1970 without a battery."""


class AbortedError(TransportError):
    """The request was cut off from this side, to stop or to pause."""


class NotOurServerError(TransportError):
    """Somebody answered, but not an ingest server: a captive portal, a proxy, a wrong URL."""


class ChannelError(NotOurServerError):
    """A request is refused, whatever the file: a wrong URL, a proxy, another version."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; that is not the recording's fault, it is kept and goes on by itself: check"
            " [server] url and proxy, what is on the way, and the versions of agent and server"
        )


class ForeignRefusalError(NotOurServerError):
    """Something between us and the server refused a body of ``length`` bytes with ``status``."""

    def __init__(self, status: int, length: int, advice: str = "") -> None:
        super().__init__(
            f"answer {status} without a problem document to a request with {length} bytes: not from the"
            f" ingest server, but from a proxy or gateway on the way{advice}"
        )
        self.status = status
        self.length = length


class ReportRefusedError(TransportError):
    """What a report says is refused, by the server or by something on the way."""


class ServerBusyError(TransportError):
    """Retry after ``retry_after_s``, or by our own backoff if None.

    ``blocked_by`` is ``server_busy``, ``server_full`` or ``quota``. ``concerns_all``: the server as a
    whole, not perhaps this one upload. ``is_foreign``: somebody on the way said it for the server.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None,
        blocked_by: str,
        concerns_all: bool = True,
        is_foreign: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.blocked_by = blocked_by
        self.concerns_all = concerns_all
        self.is_foreign = is_foreign


class NotDirectError(TransportError):
    """Bytes did not get straight to the server's store: they go through the server."""


class UnauthorizedError(TransportError):
    """The server does not take our token."""


class UploadLostError(TransportError):
    """The server knows the upload no more."""


class ConflictError(TransportError):
    """The upload is not as we thought: superseded, not-open, ranges-missing, digest-mismatch, ...

    ``missing`` holds the first ranges that the server lacks; None when it did not say.
    ``is_passing``: a request broke, as they do on a bad link; else the upload itself may be stuck.
    """

    def __init__(self, problem: Problem, *, is_passing: bool = False) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.code = problem.code
        self.missing: RangeSet | None = problem.missing
        self.is_passing = is_passing


class RejectedError(TransportError):
    """The server will never take this file as it is."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.code = problem.code


class ReceiptRefusedError(TransportError):
    """The server gave a receipt, but not for the bytes that we hold (law L2)."""

    code: ClassVar[str] = "receipt-refused"

    def __init__(self, message: str, *, expected: str, actual: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual

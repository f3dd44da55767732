"""What the core raises.

    Exception
    ├── Refused               a foreseeable refusal: becomes a problem answer by its code
    │   └── StateFailed       the database could not do its work (full, busy, broken)
    └── ServerError           the server cannot start or go on; one sentence for an operator
        ├── StorageError      the data folder is not fit for use
        └── StateError        the database cannot be opened
            ├── StateTooNewError  it was written by a newer version
            └── StateLostError    it is gone or damaged, and what it knew of is there

Anything else is a bug here and is left to fly: the front answers 500 and logs it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from upload_protocol.messages import Problem
from upload_protocol.problems import MAX_MISSING_RANGES, PROBLEMS, ProblemType
from upload_protocol.ranges import RangeSet


class Refused(Exception):  # noqa: N818 - an answer to the client, not a fault
    """The request is answered with the problem *code*; nothing else is wrong.

    Raises:
        KeyError: *code* is not in the table of problems; a bug here.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        missing: RangeSet | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.problem: ProblemType = PROBLEMS[code]
        super().__init__(f"{code}: {detail}")
        self.detail = detail
        self.missing = None if missing is None else RangeSet(islice(missing, MAX_MISSING_RANGES))
        self.retry_after_s = retry_after_s
        self.status: int | str = self.problem.status
        """Of the answer: the table's, or a whole status line of a protocol that has its own."""

    def again(self, missing: RangeSet | None = None) -> Refused:
        """Return a copy: several requests may wait for one work and raise its refusal.

        Args:
            missing: what is missing now; None: as it was.
        """
        # Not by its initializer: a subclass has one of its own, and members that it does not take.
        made = type(self).__new__(type(self), *self.args)
        made.__dict__.update(self.__dict__)
        if missing is not None:
            made.missing = RangeSet(islice(missing, MAX_MISSING_RANGES))
        return made

    @property
    def code(self) -> str:
        return self.problem.code

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the problem document (RFC 9457) that the client gets."""
        return Problem(
            code=self.code,
            status=int(str(self.status)[:3]),
            title=self.problem.title,
            detail=self.detail,
            retryable=self.problem.retryable,
            missing=self.missing,
            request_id=request_id,
        ).to_json(self.problem.uri)


class StateFailed(Refused):
    """The database did not do its work; nothing of the transaction is stored."""


class StateUncertain(StateFailed):
    """The store ended in the middle of a commit: whether the transaction is stored, nobody knows yet."""


class AwayError(OSError):
    """A bucket cannot be used as it is: time, or a person, mends that, and nothing in it is lost meanwhile."""


WHAT_AWAY_MEANS = (
    "Uploads that go there are refused, and all others go on. The server tries again by itself"
)
"""Where the bucket is one that a rule leads to."""
AWAY_RETRY_S = 30
"""After that a client asks again: longer than a busy store is, since a person may have to see to it."""


def refused_by_disk(error: OSError) -> Refused:
    """Return what a client is told when the disk did not take or give its bytes."""
    if isinstance(error, AwayError):
        detail = f"the place where this file is kept cannot be used now ({error.strerror or error})"
        return Refused("server-busy", detail, retry_after_s=AWAY_RETRY_S)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Refused("storage-full", "the server's disk is full", retry_after_s=60)
    if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:  # the disk is sound
        detail = f"the server has used up what the system gives it ({error.strerror or error})"
        return Refused("server-busy", detail, retry_after_s=5)
    if error.errno == errno.EBUSY:  # a store of files that is another program's
        detail = f"the server's store of files does not answer ({error.strerror or error})"
        return Refused("server-busy", detail, retry_after_s=5)
    return Refused("storage-failed", f"the server's disk failed ({error.strerror or error})")


def refused_by_peer(error: OSError) -> Refused:
    """Return what a client is told whose body did not arrive."""
    code = "request-timeout" if isinstance(error, TimeoutError) else "body-truncated"
    return Refused(code, str(error))


@contextmanager
def disk_refusals() -> Iterator[None]:
    """Turn a failing disk into the refusal that a client is told.

    Raises:
        Refused: the body raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise refused_by_disk(error) from error


_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR}


def is_no_file(error: BaseException | None) -> bool:
    """Whether no file stands at the name that was to be read, but nothing, or what a person put there.

    A link, a folder, a socket or a device: the disk is sound, and what the server put there is gone.
    """
    return isinstance(error, OSError) and error.errno in _NO_FILE


class ServerError(Exception):
    """The server cannot start or go on; the message says why and what to do."""


class SettingError(ServerError):
    """What a setting names, a file or a function, cannot be used: trying again does not mend it."""


class StorageError(ServerError):
    """The data folder cannot hold uploads."""


class StateError(ServerError):
    """The database cannot be opened."""


class StateLostError(StateError):
    """The database is gone or damaged, beside data that it knew: an operator has to choose the way on."""


class StateTooNewError(StateError):
    """The database was written by a newer version of this program."""

"""What a server's answer means: a value, or one of our errors. Knows HTTP, and no HTTP library.

Whoever answers may be no ingest server at all: a hotel's login page says 200 to everything. Only a
JSON document of the agreed form counts, and a problem counts only with a code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from edge_agent.base.errors import (
    ChannelError,
    ConflictError,
    NotOurServerError,
    RejectedError,
    ServerBusyError,
    TransportError,
    UnauthorizedError,
    UploadLostError,
)
from edge_agent.send.clients.answers import About, about
from upload_protocol import problems
from upload_protocol.headers import RETRY_AFTER
from upload_protocol.messages import MessageError, Problem

T = TypeVar("T")

MAX_ANSWER_BYTES = 128 * 1024
"""Of every answer but block digests. The largest honest one, a status of 1024 ranges, has 45 KB."""

MAX_BLOCKS_BYTES = 512 * 1024
"""Of an answer with block digests: 4096 of them have 310 KB."""

_MAX_PARTS = 16 * 1024
"""Arrays, objects and members in an answer. As values they take many times the memory of their text; a
status of 1024 ranges has 3,100, 4096 block digests have 4,100."""

_OF_A_BUSY_ONE = frozenset({429, 502, 503, 504})
"""What a proxy says, too, while the server behind it is busy or starts anew."""

_OF_A_BODY = frozenset({400, 403, 405, 406, 408, 411, 413, 414, 415, 416, 422, 431, 501})
"""What proxies answer to a body that is too long or too slow for them, or to a method that they forbid. Not
404, which is a wrong URL, and not 401 and 407, which want a login."""

LONGEST_RETRY_AFTER_S = 3600.0
"""A server may ask for patience, not for a day: nobody would look for the reason there."""

LONGEST_FOREIGN_S = 300.0
"""Something on the way may ask for less: a network left behind must not hold up the next one for an hour."""

_WORDS = {
    402: "the network wants to be paid",
    407: "a proxy wants a login: put it into [server] proxy",
    421: "whoever answers does not serve this host name: see [server] url",
    451: "the network blocks this address",
    511: "the network wants a login before it lets anything through",
}
"""Of answers that are never an ingest server's own, what they ask for."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())


def read(
    answer: Answer, form: Callable[[object], T], *, now: datetime, is_question: bool = False
) -> T:
    """Return the document of a 2xx answer, or raise what any other answer means.

    Args:
        form: reads the document, raising `MessageError` when it is not of its form.
        now: wall time, only to read a Retry-After that is a date.
        is_question: the request told nothing of a file, so that no answer can be a verdict on it.

    Raises:
        TransportError: what the answer means, if it is no 2xx.
        NotOurServerError: it is no document of *form*.
    """
    if not 200 <= answer.status < 300:
        error = error_of(answer, now=now)
        raise (
            ChannelError(str(error)) if is_question and isinstance(error, RejectedError) else error
        )
    try:
        return form(_document(answer))
    except MessageError as error:
        msg = (
            f"answer {answer.status} with something else than an ingest server says ({error}): a login page of"
            " the network, a proxy, or a wrong URL, if not a server of another version"
        )
        raise NotOurServerError(msg) from error


def error_of(answer: Answer, *, now: datetime) -> TransportError:
    """Return the error that an answer other than 2xx stands for."""
    status = answer.status
    if 300 <= status < 400:
        return NotOurServerError(
            f"the server redirects ({status}); the URL in the configuration must be the final one,"
            " or a login page of the network is in the way"
        )
    problem = _problem(answer)
    wait_s = retry_after_s(answer.header(RETRY_AFTER), now=now)
    if problem is None:
        return _foreign(status, wait_s)
    if status == 429 or status >= 500:
        return _busy(status, problem, wait_s)
    match about(status, problem.code):
        case About.FILE:
            return RejectedError(problem)
        case About.LOGIN:
            return UnauthorizedError(f"{problem.code}: {problem.detail or problem.title}")
        case About.UPLOAD_GONE:
            return UploadLostError(f"{problem.code}: {problem.detail}")
        case About.BODY:
            return ConflictError(problem, is_passing=True)
        case About.UPLOAD:
            return ConflictError(problem)
        case _:
            return ChannelError(f"{problem.code}: {problem.detail or problem.title}")


def _foreign(status: int, wait_s: float | None) -> TransportError:
    """Return what an answer means that no ingest server gives: its errors have a document."""
    if status in _OF_A_BUSY_ONE:
        what = (
            f"answer {status} without a problem document: from a proxy on the way, while the server"
            " behind it is busy, starts anew or is away"
        )
        wait_s = None if wait_s is None else min(LONGEST_FOREIGN_S, wait_s)
        return ServerBusyError(
            what, retry_after_s=wait_s, blocked_by="server_busy", is_foreign=True
        )
    if status >= 500 and status not in _WORDS:
        return ChannelError(
            f"answer {status} without a problem document: not from the ingest server, but from a proxy"
            " on the way, or from another program at [server] url"
        )
    return NotOurServerError(_words_of_foreign(status))


def _words_of_foreign(status: int) -> str:
    if status in _WORDS:
        return f"{_WORDS[status]} (answer {status})"
    return f"answer {status} without a problem document: a proxy, a captive portal, or a wrong URL"


def _busy(status: int, problem: Problem, wait_s: float | None) -> ServerBusyError:
    if problem.code == "quota-exceeded":
        blocked_by = "quota"
    else:
        blocked_by = "server_full" if status == 507 else "server_busy"
    return ServerBusyError(
        f"{problem.code}: {problem.detail}",
        retry_after_s=wait_s,
        blocked_by=blocked_by,
        concerns_all=status in _OF_A_BUSY_ONE,
    )


def _problem(answer: Answer) -> Problem | None:
    media_type = (answer.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type not in {problems.CONTENT_TYPE, "application/json"}:
        return None
    try:
        return Problem.from_json(_document(answer))
    except MessageError:
        return None


def is_foreign_refusal(answer: Answer) -> bool:
    """Return whether something on the way refused the body of a request, or its method."""
    return answer.status in _OF_A_BODY and _problem(answer) is None


def words_of(answer: Answer) -> str:
    """Return what an answer other than 2xx says, for a person."""
    problem = _problem(answer)
    if problem is None:
        return _words_of_foreign(answer.status)
    return f"{problem.code}: {problem.detail or problem.title}"


def problem_code(answer: Answer) -> str | None:
    """Return the code of a problem document, None where the answer is something else."""
    problem = _problem(answer) if answer.status >= 400 else None
    return None if problem is None else problem.code


def _document(answer: Answer) -> Any:
    # Those within texts are counted, too, and honest ones have few.
    if sum(map(answer.body.count, (b"[", b"{", b","))) > _MAX_PARTS:
        msg = f"a document of more than {_MAX_PARTS} parts"
        raise MessageError(msg)
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise MessageError("no JSON document") from error


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a Retry-After (RFC 9110, 10.2.3), from 1 to an hour; None if unreadable.

    A date is believed only as far as the wall clock is: a board that booted in the past would wait
    for years, hence the cap.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        wait_s = float(value[:12])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wait_s = (moment - now).total_seconds()
    return max(1.0, min(LONGEST_RETRY_AFTER_S, wait_s))

"""What an answer means, by its status and its problem code."""

import json
from datetime import UTC, datetime

import pytest

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
from edge_agent.send.clients.answers import ABOUT
from edge_agent.send.clients.responses import Answer, error_of, retry_after_s
from upload_protocol.problems import PROBLEMS
from upload_protocol.ranges import ByteRange, RangeSet

NOW = datetime(2026, 11, 21, tzinfo=UTC)

MEANS = {
    "unauthorized": UnauthorizedError,
    "forbidden": UnauthorizedError,
    "device-mismatch": UnauthorizedError,
    "upload-not-found": UploadLostError,
    "upload-expired": UploadLostError,
    "upload-aborted": UploadLostError,
    "device-claimed": UnauthorizedError,
    "idempotency-key-reused": UploadLostError,
    "inconsistent-length": UploadLostError,
    "too-large": RejectedError,
    "invalid-name": RejectedError,
    "upload-refused": RejectedError,
    "too-many-requests": ServerBusyError,
    "internal": ServerBusyError,
    "server-busy": ServerBusyError,
    "stopping": ServerBusyError,
    "storage-full": ServerBusyError,
    "storage-failed": ServerBusyError,
    "quota-exceeded": ServerBusyError,
    "superseded": ConflictError,
    "not-open": ConflictError,
    "ranges-missing": ConflictError,
    "digest-mismatch": ConflictError,
    "too-many-ranges": ConflictError,
    "not-direct": ConflictError,
    "request-timeout": ConflictError,
    "body-truncated": ConflictError,
    "content-digest-mismatch": ConflictError,
}


def answer_of(code, *, headers=None, **members):
    kind = PROBLEMS[code]
    document = {"code": code, "status": kind.status, "title": kind.title, **members}
    head = {"content-type": "application/problem+json", **(headers or {})}
    return Answer(kind.status, head, json.dumps(document).encode())


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_each_problem_of_the_table_has_its_meaning(code):
    error = error_of(answer_of(code), now=NOW)

    assert type(error) is MEANS.get(code, ChannelError)
    assert code in str(error)


def test_each_problem_of_the_protocol_is_about_something():
    assert set(ABOUT) == set(PROBLEMS)


@pytest.mark.parametrize("status", [400, 402, 404, 405, 413, 415, 418, 422, 431, 451])
def test_a_code_that_is_not_known_here_is_never_a_verdict_on_the_file(status):
    document = {"code": "of-a-later-version", "status": status, "title": "t"}
    head = {"content-type": "application/problem+json"}

    error = error_of(Answer(status, head, json.dumps(document).encode()), now=NOW)

    assert type(error) is ChannelError


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_what_the_table_calls_retryable_is_never_given_up(code):
    if PROBLEMS[code].retryable:
        assert not isinstance(error_of(answer_of(code), now=NOW), RejectedError)


@pytest.mark.parametrize(
    ("code", "reason", "concerns_all"),
    [
        ("server-busy", "server_busy", True),
        ("too-many-requests", "server_busy", True),
        ("internal", "server_busy", False),
        ("storage-full", "server_full", False),
        ("quota-exceeded", "quota", False),
    ],
)
def test_a_busy_server_says_why_and_whom_it_concerns(code, reason, concerns_all):
    error = error_of(answer_of(code, headers={"retry-after": "9"}), now=NOW)

    assert isinstance(error, ServerBusyError)
    assert (error.blocked_by, error.concerns_all, error.retry_after_s) == (reason, concerns_all, 9)


def test_missing_ranges_come_with_the_error():
    error = error_of(answer_of("ranges-missing", missing=[[0, 5], [7, 9]]), now=NOW)

    assert isinstance(error, ConflictError)
    assert error.missing == RangeSet([ByteRange(0, 5), ByteRange(7, 9)])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 418, 451])
def test_a_refusal_without_a_problem_document_is_not_our_servers(status):
    error = error_of(Answer(status, {"content-type": "text/html"}, b"<html>"), now=NOW)

    assert isinstance(error, NotOurServerError)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_gateway_without_a_document_is_busy_for_no_longer_than_we_would_wait_by_ourselves(status):
    error = error_of(Answer(status, {"retry-after": "3600"}, b""), now=NOW)

    assert isinstance(error, ServerBusyError)
    assert (error.retry_after_s, error.is_foreign) == (300, True)


@pytest.mark.parametrize("status", [500, 501, 505, 507, 520, 525, 599])
def test_any_other_failure_without_a_document_is_of_what_is_on_the_way(status):
    assert type(error_of(Answer(status, {}, b""), now=NOW)) is ChannelError


@pytest.mark.parametrize(
    ("status", "said"),
    [(407, "[server] proxy"), (451, "blocks"), (511, "login"), (421, "[server] url")],
)
def test_what_the_network_wants_is_said(status, said):
    assert said in str(error_of(Answer(status, {}, b"<html>"), now=NOW))


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 600)])
def test_every_status_is_one_of_our_errors(status):
    assert isinstance(error_of(Answer(status, {}, b"\xff"), now=NOW), TransportError)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("5", 5),
        (" 5 ", 5),
        ("0", 1),
        ("99999999999999999999", 3600),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("1e3", None),
        ("Sat, 21 Nov 2026 00:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 00:00:30 -0000", 30),
        ("Fri, 20 Nov 2026 00:00:30 GMT", 1),
        ("Sat, 21 Nov 2099 00:00:30 GMT", 3600),
        ("Sat, 21 Nov 0001 00:00:30 +2359", 1),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
        ("Sat, 21 Nov 99999999999999999999 00:00:30 GMT", None),
        ("Sat, 21 Nov 2026 00:00:30 +99999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value, wait_s):
    assert retry_after_s(value, now=NOW) == wait_s


def test_a_date_read_on_a_board_in_1970_waits_an_hour_at_most():
    wait_s = retry_after_s("Sat, 21 Nov 2026 00:00:30 GMT", now=datetime(1970, 1, 1, tzinfo=UTC))

    assert wait_s == 3600

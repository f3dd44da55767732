"""Header and path names of the native protocol, and the forms of their values.

The only place where HTTP's inclusive byte positions meet our half-open ranges (RFC 9110, 14.4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from upload_protocol.ranges import MAX_OFFSET as MAX_OFFSET
from upload_protocol.ranges import ByteRange

PROTOCOL_VERSION = 1
PROBE_PATH = "/v1"
UPLOADS_PATH = "/v1/uploads"
ROTATE_PATH = "/v1/token/rotate"
CLAIM_PATH = "/v1/claim"
CA_PATH = "/ca.crt"
REPORT_PATH = "/v1/report"
HOLDS_PATH = "/v1/report/holds"
GROUPS_PATH = "/v1/groups"
FLEET_PATH = "/v1/fleet"

IDEMPOTENCY_KEY = "Idempotency-Key"
CONTENT_RANGE = "Content-Range"
CONTENT_DIGEST = "Content-Digest"
UPLOAD_OFFSET = "Upload-Offset"
UPLOAD_LENGTH = "Upload-Length"
REQUEST_ID = "X-Request-Id"
METHOD_OVERRIDE = "X-HTTP-Method-Override"
RETRY_AFTER = "Retry-After"

_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/(\*|[0-9]+)\Z")
_WHOLE = re.compile(r"[0-9]+\Z")
_DIGITS = len(str(MAX_OFFSET))
_KEY = re.compile(r"[A-Za-z0-9._~-]{16,128}\Z")
_DEVICE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}\Z")


class HeaderError(ValueError):
    """A header value could not be read; the message says what was expected."""


class PastAllFilesError(HeaderError):
    """A header tells of bytes that no file can have."""


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Where a body belongs, and the file's length as its sender sees it (None for ``*``)."""

    where: ByteRange
    total: int | None

    def __str__(self) -> str:
        total = "*" if self.total is None else self.total
        return f"bytes {self.where.start}-{self.where.stop - 1}/{total}"


def parse_content_range(value: str) -> ContentRange:
    """Read ``bytes first-last/total`` (both ends inclusive; total may be ``*``).

    Raises:
        HeaderError: not of that form, ends before it starts, or reaches past its own total.
        PastAllFilesError: no file can be so large.
    """
    match = _CONTENT_RANGE.match(value)
    if match is None:
        msg = f"Content-Range is {value[:80]!r}; the form is 'bytes FIRST-LAST/TOTAL'"
        raise HeaderError(msg)
    first, last = _at_most(match[1]), _at_most(match[2])
    total = None if match[3] == "*" else _at_most(match[3])
    if last < first:
        msg = f"Content-Range ends ({last}) before it starts ({first})"
        raise HeaderError(msg)
    if max(last, total or 0) > MAX_OFFSET - 1:
        msg = "Content-Range lies past the largest file offset"
        raise PastAllFilesError(msg)
    if total is not None and last >= total:
        msg = f"Content-Range ends at byte {last}, past its own total of {total} bytes"
        raise HeaderError(msg)
    return ContentRange(ByteRange(first, last + 1), total)


def whole_number(text: str) -> int | None:
    """Return the number that *text* writes in ASCII digits, however many; None: it is no number.

    One past all offsets is returned as the first of those, `MAX_OFFSET` + 1: nobody has to turn
    thousands of digits into a number to refuse it.
    """
    return _at_most(text) if _WHOLE.match(text) else None


def _at_most(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return min(int(digits), MAX_OFFSET + 1) if len(digits) <= _DIGITS else MAX_OFFSET + 1


def upload_path(upload_id: str) -> str:
    return f"{UPLOADS_PATH}/{upload_id}"


def content_path(upload_id: str) -> str:
    return f"{UPLOADS_PATH}/{upload_id}/content"


def complete_path(upload_id: str) -> str:
    return f"{UPLOADS_PATH}/{upload_id}/complete"


def blocks_path(upload_id: str) -> str:
    return f"{UPLOADS_PATH}/{upload_id}/blocks"


def parts_path(upload_id: str) -> str:
    return f"{UPLOADS_PATH}/{upload_id}/parts"


def parts_done_path(upload_id: str) -> str:
    return f"{UPLOADS_PATH}/{upload_id}/parts/done"


def is_idempotency_key(value: str) -> bool:
    """Return whether *value* is 16 to 128 unreserved characters (RFC 3986, 2.3)."""
    return _KEY.match(value) is not None


def is_device_id(value: str) -> bool:
    """Return whether *value* is safe in a path, an MQTT topic, an ACL pattern and a file name."""
    return _DEVICE_ID.match(value) is not None


def is_upload_id(value: str) -> bool:
    """Return whether *value* has the form of an id that the server makes (128 bits in hex)."""
    return _UPLOAD_ID.match(value) is not None

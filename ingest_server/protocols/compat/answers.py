"""How the dialects say an answer, and read and write the words that several of them share."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import falcon

from ingest_server.core.errors import Refused
from ingest_server.protocols.json_answer import as_json, say
from ingest_server.uploads.pending import Pending
from upload_protocol import headers
from upload_protocol.messages import Receipt

PIECE_BYTES = 16 * 1024
"""Of a list that is sent as it is made: to send each member by itself costs six times as much."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)\Z")


def content_range(value: str | None) -> tuple[int, int, int] | None:
    """Return first, last and total of a Content-Range as these servers read it.

    A total past all files is returned as such (`headers.whole_number`): its size is what is wrong.
    """
    match = None if value is None else _CONTENT_RANGE.match(value)
    if match is None:
        return None
    first, last, total = (headers.whole_number(one) for one in match.groups())
    if first is None or last is None or total is None:
        return None
    return first, last, total


def dashed(upload_id: str) -> str:
    """Return an id as these servers write theirs: as a UUID."""
    return str(uuid.UUID(upload_id))


def say_each(resp: falcon.Response, documents: Iterable[object]) -> None:
    """Answer with an array of *documents*, made as the client takes what is before them."""

    def pieces() -> Iterator[bytes]:
        before, held = "[", ""
        for document in documents:
            held += before + as_json(document)
            before = ","
            if len(held) >= PIECE_BYTES:
                yield held.encode("ascii")
                held = ""
        yield (held + ("[]" if before == "[" else "]")).encode("ascii")

    resp.content_type = "application/json"
    resp.stream = pieces()


def say_outcome(resp: falcon.Response, document: object, outcome: Receipt | Pending | None) -> None:
    """Answer with *document*; 202 where the finish goes on and asking again tells how it ended."""
    say(resp, document, 202 if isinstance(outcome, Pending) else 200)
    if isinstance(outcome, Pending):
        resp.set_header(headers.RETRY_AFTER, str(round(outcome.retry_after_s)))


def detail_shape(model: str, method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    """Return a refusal as Django REST framework words it."""
    status = refused.problem.status
    document: dict[str, Any] = {}
    if refused.code in {"upload-not-found", "not-found"}:
        detail = f"No {model} matches the given query."
    elif refused.code == "method-not-allowed":
        detail = f'Method "{method}" not allowed.'
    elif status == 410:
        detail = "Upload has expired"
    elif refused.code == "not-open":
        status, detail = 400, 'Upload has already been marked as "complete"'
    elif refused.code in {"invalid-name", "too-large"}:
        status, detail = 400, refused.detail
    else:
        # Nothing that the original could say: our own code tells a program what it is.
        detail, document = refused.detail, {"code": refused.code}
    return status, {"detail": detail, **document}

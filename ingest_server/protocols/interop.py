"""The versions of the IETF draft (Resumable Uploads for HTTP) that this server speaks, and its fields.

While it is a draft, each breaking change gets an interop version, and a client names the one that it
speaks. 8 is spoken by the draft's text; 6 and 9 by what is known of what differs in the drafts 05 and 12,
and by peers that name them (looked at on 2026-11-28). The draft 13 (interop 10) was not to be had, so 10
is not claimed.
"""

from __future__ import annotations

from typing import Any

import falcon

from ingest_server.core.errors import Refused
from ingest_server.protocols.resumable import DialectRefused
from upload_protocol.structured_fields import FieldError, parse_item

FIELD = "Upload-Draft-Interop-Version"
INCOMPLETE = "Upload-Incomplete"
"""What interop version 3 and earlier say in the place of Upload-Complete."""

SPOKEN = (6, 8, 9)
NEWEST = SPOKEN[-1]
"""What a request that names none is answered in."""

_DRAFTS = {3: "draft 01", 4: "draft 02", 5: "draft 03", 7: "drafts 06 to 08", 10: "draft 13"}


def asked(req: falcon.Request) -> int:
    """Return the version to answer in.

    Raises:
        DialectRefused: the request names one that is not spoken here.
    """
    text = req.get_header(FIELD)
    if text is None:
        if req.get_header(INCOMPLETE) is not None:
            raise _refused(f"sends {INCOMPLETE}, as interop version 3 ({_DRAFTS[3]}) had it")
        return NEWEST
    version = integer(req, FIELD)
    if version in SPOKEN:
        return version
    draft = None if version is None else _DRAFTS.get(version)
    named = repr(text[:20]) if draft is None else f"{version} ({draft})"
    raise _refused(f"names interop version {named}")


def is_named(req: falcon.Request) -> bool:
    """Return whether the request itself names a version that is spoken here."""
    return integer(req, FIELD) in SPOKEN


def integer(req: falcon.Request, name: str) -> int | None:
    """Return a field's integer from 0; what is none is ignored, as the draft asks."""
    value = _item(req, name)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


def boolean(req: falcon.Request, name: str) -> bool | None:
    """Return a field's boolean; what is none is ignored."""
    value = _item(req, name)
    return value if isinstance(value, bool) else None


def _item(req: falcon.Request, name: str) -> Any:
    try:
        return parse_item(req.get_header(name) or "").value
    except FieldError:
        return None


def _refused(what: str) -> Refused:
    spoken = ", ".join(map(str, SPOKEN))
    detail = (
        f"this server speaks the interop versions {spoken} of Resumable Uploads for HTTP; the request "
        f"{what}: use a client of one of those versions, or tus"
    )
    return DialectRefused("unsupported-version", detail, status="400 Bad Request")

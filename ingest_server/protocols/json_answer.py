"""What an answer has as its body: a document in JSON."""

from __future__ import annotations

import json

import falcon


def as_json(document: object) -> str:
    # ASCII with escapes: a name may hold what UTF-8 cannot (lone surrogates).
    return json.dumps(document, separators=(",", ":"))


def say(resp: falcon.Response, document: object, status: int | None = None) -> None:
    """Answer with *document*; *status*: None: what was said before, else 200."""
    if status is not None:
        resp.status = status
    resp.content_type = "application/json"
    resp.data = as_json(document).encode("ascii")

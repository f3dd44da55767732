"""Answers that are worth packing, and what a client has of them already."""

from __future__ import annotations

import zlib
from typing import Any

import falcon

LEAST_BYTES = 1000
"""What is shorter gains nothing: it goes in one packet as it is."""
_LEVEL = 1
"""The fastest: of the rows of a thousand devices it leaves a twentieth, and 6 takes three times as long for
a fifth less."""
_SUFFIX = "-gzip"


def is_held(req: falcon.Request, tag: str) -> bool:
    """Whether the client says that it has what *tag* names."""
    told = req.get_header("If-None-Match") or ""
    held = {one.removeprefix("W/") for one in listed_tags(told)}
    return tag in held or told.strip() == "*"


def listed_tags(field: str) -> set[str]:
    """Return the entity tags in a header; none of this server's has a comma."""
    return {one.strip() for one in field.split(",")}


def takes_gzip(req: falcon.Request) -> bool:
    """Whether the client says that it reads gzip."""
    for one in (req.get_header("Accept-Encoding") or "").lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


def tagged(req: falcon.Request, resp: falcon.Response, version: str) -> bool:
    """Name the answer by *version*; return whether the client has it, packed or not, and needs none."""
    tag = f'"{version}"'
    packed = f'"{version}{_SUFFIX}"'
    resp.set_header("ETag", packed if takes_gzip(req) else tag)
    if not (is_held(req, tag) or is_held(req, packed)):
        return False
    resp.status = falcon.HTTP_304
    return True


def pack(req: falcon.Request, resp: falcon.Response, _resource: Any) -> None:
    """Pack what a responder has answered, where the client takes that: a hook after it.

    The rest of the process goes on meanwhile: zlib lets go of the interpreter.
    """
    resp.append_header("Vary", "Accept-Encoding")
    body = resp.data
    if body is None or len(body) < LEAST_BYTES or not takes_gzip(req):
        return
    packer = zlib.compressobj(_LEVEL, wbits=31)
    resp.data = packer.compress(body) + packer.flush()
    resp.set_header("Content-Encoding", "gzip")

"""What a device does that sends to the store itself, request by request."""

from __future__ import annotations

from typing import Any

import httpx

from upload_protocol.digests import Digest

Part = dict[str, Any]


def ask_to_sign(
    client: httpx.Client, upload_id: str, data: bytes, *ranges: tuple[int, int]
) -> httpx.Response:
    """Ask where these ranges of *data* go."""
    parts = [
        {"range": [start, stop], "digest": str(Digest.of(data[start:stop]))}
        for start, stop in ranges
    ]
    return client.post(f"/v1/uploads/{upload_id}/parts", json={"parts": parts})


def signed(
    client: httpx.Client, upload_id: str, data: bytes, *ranges: tuple[int, int]
) -> list[Part]:
    """Return where they go."""
    answer = ask_to_sign(client, upload_id, data, *ranges)
    assert answer.status_code == 200, answer.text
    found: list[Part] = answer.json()["parts"]
    return found


def at_store(part: Part, data: bytes, *, body: bytes | None = None) -> httpx.Response:
    """Put a part's bytes of *data*, or another *body*, where it goes."""
    start, stop = part["range"]
    content = data[start:stop] if body is None else body
    return httpx.put(
        part["url"], content=content, headers=part["headers"], timeout=30, trust_env=False
    )


def done(client: httpx.Client, upload_id: str, *parts: Part) -> httpx.Response:
    """Say that the store has them."""
    said = [{name: part[name] for name in ("range", "digest", "part")} for part in parts]
    return client.post(f"/v1/uploads/{upload_id}/parts/done", json={"parts": said})

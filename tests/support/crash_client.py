"""A client of the server that crashes, in plain requests."""

from __future__ import annotations

import http.client
import json
import secrets
from typing import Any

from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange, RangeSet

HOST = "127.0.0.1"
MODIFIED_AT = "2024-11-20T23:30:00Z"
MODIFIED_S = 1732145400


class Client:
    """One device, and one connection at a time."""

    def __init__(self, port: int, device: str) -> None:
        self.device = device
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the document of one request.

        Raises:
            OSError, http.client.HTTPException: the server is gone.
        """
        if self._connection is None:
            self._connection = http.client.HTTPConnection(HOST, self._port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._connection.request(method, path, body, named)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return answer.status, json.loads(content) if content else {}

    def create(self, name: str, length: int) -> str:
        """Create an upload of which nothing is held; return its id."""
        return self.begin(name, length)[0]

    def begin(self, name: str, length: int, before: bytes = b"") -> tuple[str, RangeSet]:
        """Create an upload of what *before*, which was published, was written on; return what is held of it."""
        request = {
            "name": name,
            "folder": "",
            "length": length,
            "device": self.device,
            "modified_at": MODIFIED_AT,
        }
        if before:
            request["extends"] = {"digest": str(Digest.of(before)), "length": len(before)}
        status, document = self.ask(
            "POST",
            "/v1/uploads",
            json.dumps(request).encode(),
            Content_Type="application/json",
            Idempotency_Key=secrets.token_hex(16),
        )
        assert status == 201, document
        return str(document["id"]), ranges_of(document)

    def put(
        self, upload_id: str, span: ByteRange, data: bytes, total: int, *, with_digest: bool
    ) -> RangeSet:
        """Send a range; return all that the server holds by then."""
        headers = {"Content_Range": f"bytes {span.start}-{span.stop - 1}/{total}"}
        if with_digest:
            headers["Content_Digest"] = str(Digest.of(data))
        path = f"/v1/uploads/{upload_id}/content"
        status, document = self.ask("PUT", path, data, **headers)
        while document.get("code") == "superseded":
            # By the request that broke off before it: a server may see its head only now.
            status, document = self.ask("PUT", path, data, **headers)
        assert status == 200, document
        return ranges_of(document)

    def put_and_break_off(
        self, upload_id: str, span: ByteRange, data: bytes, total: int, *, sent: int
    ) -> None:
        """Send the front of a range, and go."""
        self.close()
        connection = http.client.HTTPConnection(HOST, self._port, timeout=20)
        try:
            connection.putrequest("PUT", f"/v1/uploads/{upload_id}/content")
            connection.putheader("Content-Range", f"bytes {span.start}-{span.stop - 1}/{total}")
            connection.putheader("Content-Length", str(span.length))
            connection.endheaders()
            connection.send(data[:sent])
        finally:
            connection.close()

    def status(self, upload_id: str) -> tuple[int, dict[str, Any]]:
        return self.ask("GET", f"/v1/uploads/{upload_id}")

    def complete(self, upload_id: str, content: bytes) -> tuple[int, dict[str, Any]]:
        request = {"length": len(content), "digest": str(Digest.of(content))}
        return self.ask(
            "POST",
            f"/v1/uploads/{upload_id}/complete",
            json.dumps(request).encode(),
            Content_Type="application/json",
        )

    def tell_of_group(self, report: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Tell of a group whose files are all there, until it is complete."""
        told = json.dumps(report).encode()
        while True:
            status, document = self.ask("POST", "/v1/groups", told, Content_Type="application/json")
            if status != 200 or document["state"] == "complete":
                return status, document

    def abort(self, upload_id: str) -> int:
        return self.ask("DELETE", f"/v1/uploads/{upload_id}")[0]


def ranges_of(document: dict[str, Any]) -> RangeSet:
    """Return what a status document says is held."""
    return RangeSet(ByteRange(*pair) for pair in document["received"])

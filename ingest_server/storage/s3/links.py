"""Links to a bucket, signed here without asking the store: whoever has one reads or stores just what it says."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from ingest_server.storage.interface import Link
from ingest_server.storage.s3 import client as s3_client
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.store_errors import as_os_errors
from upload_protocol.digests import Digest

_CHECKSUM = "x-amz-checksum-sha256"


class Links:
    """Makes them; used from any thread."""

    def __init__(self, place: Place, client: Any, shown: Any) -> None:
        """Join the parts.

        Args:
            client: reaches the store from here.
            shown: by the endpoint that devices and browsers reach it by: what is signed is the host too.
        """
        self._place = place
        self._client = client
        self._signer = shown

    def beside(self, place: Place) -> Links:
        """Return those to another bucket of this store."""
        return Links(place, self._client, self._signer)

    def to_read(self, key: str, wanted: Link) -> str:
        """Return a URL by which whoever has it may read an object; made here, without asking the store.

        Raises:
            OSError: there is no key to sign with.
        """
        asked = {
            "Bucket": self._place.bucket,
            "Key": key,
            "ResponseContentType": wanted.media_type,
            "ResponseContentDisposition": wanted.disposition,
        }
        with as_os_errors(key):
            return str(
                self._signer.generate_presigned_url(
                    "get_object", asked, ExpiresIn=int(wanted.for_s)
                )
            )

    def to_put(
        self, key: str, size: int, digest: Digest, for_s: float, *, is_own: bool = False
    ) -> tuple[str, dict[str, str]]:
        """Return a URL by which whoever has it may store just these bytes, once; and the headers it needs.

        Their number and their SHA-256 are signed; made here, without asking the store.

        Args:
            is_own: it is for a request from here, not from a device.

        Raises:
            OSError: there is no key to sign with.
        """
        value = base64.b64encode(digest.value).decode("ascii")
        asked = {
            "Bucket": self._place.bucket,
            "Key": key,
            "ContentLength": size,
            "ChecksumSHA256": value,
            "IfNoneMatch": "*",
        }
        signer = self._client if is_own else self._signer
        with as_os_errors(key):
            url = signer.generate_presigned_url("put_object", asked, ExpiresIn=int(for_s))
        return str(url), {_CHECKSUM: value, "if-none-match": "*"}

    def put_by(self, url: str, data: bytes, headers: Mapping[str, str]) -> int:
        """Store an object as a device does that was given a link; return the store's status.

        Raises:
            OSError: there is no answer.
        """
        session = URLLib3Session(timeout=s3_client.READ_S)
        sent = AWSRequest("PUT", url, {**headers, "Content-Length": str(len(data))}, data)
        try:
            with as_os_errors("the link"):
                return int(session.send(sent.prepare()).status_code)
        finally:
            session.close()

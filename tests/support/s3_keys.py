"""What is in a bucket, looked at past the server."""

from __future__ import annotations

from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.place import Place


def keys_below(place: Place, prefix: str) -> list[str]:
    """Return the keys below a prefix of a place, without the place."""
    bucket = Bucket(place)
    try:
        found = bucket.listed(place.prefix + prefix)
        return [one.key.removeprefix(place.prefix) for one in found]
    finally:
        bucket.close()


def put_object(place: Place, key: str, data: bytes) -> None:
    """Put bytes in an object's place, by its whole key; what is said of it stays."""
    bucket = Bucket(place)
    try:
        head = bucket.head(key)
        bucket.put(key, data, facts={} if head is None else head.facts)
    finally:
        bucket.close()


def content_of(place: Place, key: str) -> bytes:
    """Return the bytes of an object, by its whole key."""
    bucket = Bucket(place)
    try:
        head = bucket.head(key)
        assert head is not None, f"there is no {key} in {place.bucket}"
        return bucket.get(head, 0, head.size)  # type: ignore[arg-type]  # has all that is asked of it
    finally:
        bucket.close()

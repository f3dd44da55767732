"""A server's own place in a store, a bucket beside it that a rule leads to, and the server over both."""

from __future__ import annotations

from contextlib import closing, contextmanager

from ingest_server.storage.s3.bucket import Bucket
from tests.support.s3_keys import content_of
from tests.support.secured import secured


class Field:
    """A server's own place, a bucket beside it, and the server over both, as often as it is started."""

    def __init__(self, folder, store, bucket):
        self.folder, self.store = folder, store
        (folder / "data").mkdir(parents=True)
        self.own, self.name = store.place(), bucket
        self.other = self.own.sibling(f"s3://{bucket}/raw/{self.own.prefix}")

    def rule(self, **more):
        prefix = self.other.prefix
        return {"match": "drone-*", "bucket": self.name, "prefix": prefix, **more}

    @contextmanager
    def server(self, *rules, **tables):
        storage = self.store.settings(self.own)
        with secured(self.folder, storage=storage, route=list(rules), **tables) as site:
            yield site

    def content(self, url):
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return content_of(self.own.sibling(f"s3://{bucket}"), key)


def make_bucket(place):
    with closing(Bucket(place)) as asked:
        asked._ask("create_bucket", place.bucket)

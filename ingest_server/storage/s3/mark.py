"""What tells one place of a store from others: one object, with facts beside it."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress

from ingest_server.core.errors import StorageError
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.store_errors import TakenError

KIND, ROUTED = "kind", "routed"
"""What it says of a place that only rules lead to."""


class Mark:
    """Of one place; made by the first server that runs with it."""

    def __init__(self, place: Place, bucket: Bucket, key: str) -> None:
        self._place = place
        self._bucket = bucket
        self._key = key
        self.id: str | None = None
        """What the place was known by when it was asked last."""

    def told(self) -> Mapping[str, str] | None:
        """Return what is said of this place; None: no server has run with it."""
        there = self._bucket.head(self._key)
        return None if there is None else there.facts

    def take_its_word(self) -> None:
        """Take the place for what it says that it is."""
        self.id = (self.told() or {}).get("id")

    def identify(self, agree: Callable[[str], str]) -> str:
        """As `Blobs.identify`.

        Raises:
            StorageError: it is one that rules of a server lead to, or the store keeps nothing beside an object.
        """
        # Not every store knows conditions.
        found = self._named(lambda: {"id": agree(secrets.token_hex(16))})
        self.refuse_routed(found)
        self.id = found["id"]
        return self.id

    def refuse_routed(self, told: Mapping[str, str] | None) -> None:
        """Refuse to be a server's own place, where this is what is said of it.

        Raises:
            StorageError: it is one that rules of a server lead to.
        """
        if (told or {}).get(KIND) == ROUTED:
            raise StorageError(
                f"{self._place} is where a [[route]] of a server leads: name another prefix as [storage] blobs"
            )

    def routed_from(self, name: str) -> Mapping[str, str]:
        """Return whose files are routed here; the server whose own place has this *name*, if nobody's were."""
        return self._named(lambda: {"id": name, KIND: ROUTED})

    def _named(self, facts: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """Return what is said of this place; what *facts* say, where nothing was.

        Raises:
            StorageError: the store keeps nothing beside an object.
        """
        while (told := self.told()) is None:
            with suppress(TakenError):
                self._bucket.put(self._key, b"", is_new=True, facts=facts())
        if "id" not in told:
            raise StorageError(
                f"cannot use {self._place}: the store keeps no metadata beside objects, by which they are "
                "known (JuiceFS's gateway does with --object-meta)"
            )
        return told

    def check(self, known: str | None) -> None:
        """Look whether this is still the place of whoever is *known* by that; None: nobody has asked yet.

        Raises:
            OSError: it is another one, or empty.
        """
        if known is not None and (self.told() or {}).get("id") != known:
            said = "it is not the store any more that this server knows, or has lost what was in it"
            raise OSError(errno.ENODEV, f"{said}: bring its data back, and do not trust it before")

"""What the core tells whoever counts: one method per fact.

The core is handed an `Observer` and knows no more. `metrics` is one that counts for Prometheus; this
one, the default, is nobody.
"""

from __future__ import annotations


class Observer:
    """Nobody. A subclass overrides what it wants to know.

    Called from any thread, once per request or seal: a method returns at once and never raises.
    """

    def request_began(self) -> None:
        """Tell that the application has a request's head."""

    def request_answered(
        self, *, method: str, route: str, status: int, duration_s: float, code: str | None
    ) -> None:
        """Tell how a request that began ended.

        Args:
            route: the template of its path, never the path.
            code: the problem's, where it was refused.
        """

    def request_refused(self, *, status: int, code: str) -> None:
        """Tell that a request was refused before the application saw it."""

    def bytes_received(self, count: int) -> None:
        """Tell that so many bytes were acknowledged, those that were there before among them."""

    def bytes_came_direct(self, count: int) -> None:
        """Tell that so many of the acknowledged bytes came straight to the store, and not through this server."""

    def bytes_discarded(self, reason: str, count: int) -> None:
        """Tell that bytes arrived and were not stored.

        Args:
            reason: ``duplicate`` (equal to the stored ones), ``checksum``, ``incomplete`` (its
                digest can't be checked any more), ``storage``, or ``conflict`` (the upload went
                on without this request).
        """

    def upload_created(self) -> None:
        """Tell of a new upload."""

    def upload_completed(self) -> None:
        """Tell that an upload has its receipt."""

    def upload_aborted(self) -> None:
        """Tell that a client gave an upload up."""

    def upload_expired(self) -> None:
        """Tell that an upload ended because nobody went on with it."""

    def upload_failed(self, code: str) -> None:
        """Tell that the server lost an upload."""

    def file_removed(self, length: int) -> None:
        """Tell that a published file of that many bytes had been kept long enough and is gone."""

    def file_verified(self, duration_s: float) -> None:
        """Tell how long it took to know the digest of a whole file, once all of it was there."""

    def digest_mismatched(self, scope: str) -> None:
        """Tell that bytes were not what their digest says.

        Args:
            scope: ``chunk`` (one request's body), ``file``, or ``at_rest`` (a published file).
        """

    def storage_used(self, operation: str, duration_s: float) -> None:
        """Tell how long the disk took: ``sync``, ``create`` or ``publish``."""

    def storage_failed(self, operation: str, code: str) -> None:
        """Tell that the disk did not do it; *code* is the errno's name."""

    def webhook_delivered(self, result: str) -> None:
        """Tell how one attempt of a delivery ended: ``ok``, ``retry`` or ``dead``."""


NOBODY = Observer()

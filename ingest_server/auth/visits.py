"""Whether a request that a browser sends is meant by the person in front of it.

A browser sends what any page of any site tells it to, with this server's cookie, or from the machine
that open mode trusts. So nothing is answered here to a page of another site, and what changes
something has to show that a page of ours, or no browser at all, has sent it. The order is that of
Go's `http.CrossOriginProtection`: Sec-Fetch-Site, which no page can write, and Origin where there is
none.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest_server.core.errors import Refused

REQUESTED_WITH = "edge-uploader"
"""In X-Requested-With: a page of another site would have to ask us first whether it may send that."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})
"""Of Sec-Fetch-Site: our own page, or the person's own address bar."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request says of where it comes from."""

    method: str
    host: str | None
    hosts: frozenset[str] = frozenset()
    """By which names, with the port, this server is reached, as far as it is known: lower case."""
    origin: str | None = None
    site: str | None = None
    """Sec-Fetch-Site."""
    requested_with: str | None = None
    csrf: str | None = None
    """X-CSRF-Token."""
    session: str | None = None
    """What the cookie holds."""
    remote: str | None = None

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method not in _READING

    def refuse_foreign(self) -> None:
        """Refuse what a page of another site has sent.

        Raises:
            Refused: ``forbidden``.
        """
        is_foreign = self.site not in _OWN if self.site is not None else self._is_elsewhere
        if is_foreign:
            raise Refused("forbidden", "a page of another site has sent this; nothing was done")

    def refuse_unmeant(self) -> None:
        """Refuse to change anything for whoever does not show that no other page has sent it.

        Raises:
            Refused: ``forbidden``.
        """
        self.refuse_foreign()
        is_from_here = self.origin is not None and not self._is_elsewhere
        is_ours = self.site == "same-origin" or is_from_here
        if self.changes and not is_ours and self.requested_with != REQUESTED_WITH:
            detail = f"send X-Requested-With: {REQUESTED_WITH}, which no page of another site can"
            raise Refused("forbidden", detail)

    @property
    def _is_elsewhere(self) -> bool:
        # Without the scheme: it is not known here behind a proxy that ends TLS and does not say so.
        told = self.origin
        return told is not None and told.partition("://")[2].lower() not in self.hosts

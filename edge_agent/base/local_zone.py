"""The device's own time zone, with its changes to summer time and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class LocalZone(tzinfo):
    """What the C library knows of it: ``/etc/localtime``, or ``TZ``.

    `datetime.astimezone` gives a time the offset of that instant, with which the next morning may be an
    hour off. A time of this zone has the offset of its own day.
    """

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, _: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        local = dt.replace(tzinfo=UTC).astimezone()
        first = local.replace(tzinfo=self, fold=0)
        # The hour that comes twice: `fold` says which of both is meant.
        return first if first.utcoffset() == local.utcoffset() else first.replace(fold=1)


LOCAL = LocalZone()

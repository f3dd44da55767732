"""Which names a published file may get: the first choice, then those with a number.

A camera may call every file the same. So numbers that uploads have had already are leapt over, by
halving, instead of being tried one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ingest_server.core.names import NameTemplate, joined, with_number, without_number
from ingest_server.core.record import UploadRecord
from ingest_server.core.routes import place_of
from ingest_server.storage.interface import Queries
from upload_protocol.messages import Receipt

FIRST_NUMBER = 2


class Naming:
    """Proposes names; whether a file stands there is looked at by who publishes."""

    def __init__(self, queries: Queries, template: NameTemplate) -> None:
        self._queries = queries
        self._template = template

    def first(self, record: UploadRecord) -> str:
        """Return the name that a file gets if nobody has it."""
        moment = record.recorded_at
        path = self._template.path(
            device=record.device,
            folder=record.folder,
            date=record.created_at[:10],
            name=record.name,
            recorded=None if moment is None else moment.date().isoformat(),
        )
        return joined(record.route, path)

    def told(self, receipt: Receipt) -> Receipt:
        """Return a receipt as a device may see it.

        Where devices share folders, a number, the spelling of a folder, or a way around a file that
        stands where a folder is needed, tells of another's file: then it is the name that a device
        alone would have got.
        """
        if self._template.tells_devices_apart:
            return receipt
        origin = self._queries.find(receipt.upload_id)
        if origin is None:
            return receipt
        first = self.first(origin)
        path = receipt.published_as
        if path.startswith(f"{joined(place_of(origin.route), origin.id)}/"):
            return replace(receipt, published_as=first)
        return replace(receipt, published_as=without_number(first, path))

    def candidates(
        self, record: UploadRecord, first: str, is_passed_by: Callable[[str], bool]
    ) -> Iterator[str]:
        """Yield *first*, then it with each number that no other upload has had, without end.

        Args:
            is_passed_by: whether a name with a number is not to be had, though no upload had it.
        """

        def is_used(number: int) -> bool:
            name = with_number(first, number)
            return self._queries.has_target(name, besides=record.id) or is_passed_by(name)

        yield first
        number = FIRST_NUMBER
        while True:
            number = self._unused(is_used, number)
            yield with_number(first, number)
            number += 1

    @staticmethod
    def _unused(is_used: Callable[[int], bool], number: int) -> int:
        """Return a number from *number* on that is unused; the next, where all up to it are used."""
        if not is_used(number):
            return number
        used, step = number, 1
        while is_used(used + step):
            used, step = used + step, step * 2
        unused = used + step
        while unused - used > 1:
            middle = (used + unused) // 2
            used, unused = (middle, unused) if is_used(middle) else (used, middle)
        return unused

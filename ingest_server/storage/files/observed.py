"""What the disk takes and refuses, told to an observer; or, by default, to nobody."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType

from ingest_server.base.observer import Observer

_NOTHING = nullcontext()


class Disk:
    """Nobody looks: what runs in these contexts runs as without them."""

    def failing(self, operation: str) -> AbstractContextManager[None]:  # noqa: ARG002 # see below
        """Count an `OSError` of the body, which goes on its way."""
        return _NOTHING

    def timed(self, operation: str) -> AbstractContextManager[None]:  # noqa: ARG002 # see below
        """Count it as `failing` does, and measure a body that succeeds."""
        return _NOTHING


UNWATCHED = Disk()


class ObservedDisk(Disk):
    """Tells an observer."""

    def __init__(self, observer: Observer, now_s: Callable[[], float]) -> None:
        self._observer = observer
        self._now_s = now_s

    def failing(self, operation: str) -> AbstractContextManager[None]:
        return _Failing(self._observer, operation)

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        started_s = self._now_s()
        with self.failing(operation):
            yield
        self._observer.storage_used(operation, self._now_s() - started_s)


class _Failing(AbstractContextManager[None]):
    """A class, not a generator: several of them are entered for each megabyte."""

    __slots__ = ("_observer", "_operation")

    def __init__(self, observer: Observer, operation: str) -> None:
        self._observer = observer
        self._operation = operation

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            code = errno.errorcode.get(error.errno or 0, "unknown")
            self._observer.storage_failed(self._operation, code)

"""Threads that work for all devices in turn: one that has much to do is never in front of the others."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from ingest_server.base.turns import Turns
from ingest_server.core.errors import Refused
from ingest_server.uploads.store import stopped

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Job:
    device: str
    future: Future[Any]
    run: Callable[[], None]
    claim: threading.Lock
    """Taken once: by the thread that runs it, or by who found out that there is none."""


class FairPool:
    """Runs jobs, each for a device."""

    def __init__(self, threads: int, of_one: int, name: str) -> None:
        """Make a pool that runs *of_one* jobs of one device at once, of its *threads*."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turns: Turns[_Job] = Turns(threads, lambda _: of_one, self._begin)
        self._closed = threading.Event()
        self._has_told = False

    def submit(self, device: str, work: Callable[[], T]) -> Future[T]:
        """Let *work* run once it is the device's turn, in the context of who asks.

        Raises:
            Refused: ``stopping``.
        """
        if self._closed.is_set():
            raise stopped()
        future: Future[T] = Future()
        context = contextvars.copy_context()
        claim = threading.Lock()

        def run() -> None:
            if not claim.acquire(blocking=False):
                return  # no thread came for it in time: it was refused
            try:
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(context.run(work))
                    except BaseException as error:  # noqa: BLE001 - handed to who waits
                        future.set_exception(error)
            finally:
                self._turns.end(device)

        self._turns.ask(_Job(device, future, run, claim), device)
        if self._closed.is_set():  # meanwhile: nobody would come for it
            self._dismiss()
        return future

    def stop(self) -> None:
        """Wait for what runs; what waits is cancelled, and not begun."""
        self._closed.set()
        self._dismiss()
        self._threads.shutdown(cancel_futures=True)

    def _begin(self, job: _Job) -> None:
        try:
            begun = self._threads.submit(job.run)
        except RuntimeError as error:
            if self._closed.is_set():
                job.future.cancel()
            else:
                self._refuse(job, error)
            return
        self._has_told = False
        begun.add_done_callback(lambda one: job.future.cancel() if one.cancelled() else None)

    def _refuse(self, job: _Job, error: RuntimeError) -> None:
        """Give up what is to run, since the system gives no thread, and all that waits behind it."""
        if not job.claim.acquire(blocking=False):
            return  # a thread that was there has it
        if not self._has_told:
            self._has_told = True
            log.error(
                "threads.exhausted",
                error=f"{error}: uploads are not finished until there are some. Raise TasksMax in the "
                "unit, or the container's limit of processes; devices ask again by themselves",
            )
        for one in (job, *self._turns.dismiss()):
            if one.future.set_running_or_notify_cancel():
                detail = "the server can start no thread for this now"
                one.future.set_exception(Refused("server-busy", detail, retry_after_s=5))
        self._turns.end(job.device)

    def _dismiss(self) -> None:
        for job in self._turns.dismiss():
            job.future.cancel()

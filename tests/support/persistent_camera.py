"""A device that gives up on nothing, and keeps what was acknowledged to it."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.core_site import new_key
from tests.support.secured import complete, create, put
from upload_protocol.ranges import ByteRange, RangeSet

KB = 1000
AGAIN = frozenset({202, 429, 500, 502, 503, 504})
"""The balancer has no server, the server is busy, or it works on it: once more."""


class PersistentCamera:
    """Uploads one recording after the other in a thread, in pieces of any length."""

    def __init__(self, client: httpx.Client, name: str, seed: int) -> None:
        self.wrong: list[str] = []
        """What was lost, or answered in a way that no device can go on from."""
        self.receipts: dict[str, bytes] = {}
        """Published name -> content."""
        self.uploads: set[str] = set()
        self._client = client
        self._name = name
        self._random = random.Random(seed)
        self._is_enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End with the recording that is being sent."""
        self._is_enough.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        count = 0
        while not self._is_enough.is_set() and not self.wrong:
            count += 1
            try:
                self._upload(f"{self._name}-{count}.mp4", self._random.randrange(1, 60) * KB)
            except AssertionError as error:
                self.wrong.append(str(error))

    def _upload(self, name: str, length: int) -> None:
        data, key = os.urandom(length), new_key()
        made = self._asked(
            lambda: create(self._client, key=key, name=name, length=length), 200, 201
        )
        upload_id = made["id"]
        acknowledged = RangeSet()
        while gaps := acknowledged.missing(length):
            gap = self._random.choice(list(gaps))
            stop = min(gap.stop, gap.start + self._random.randrange(1, 30) * KB)
            piece = data[gap.start : stop]
            self._asked(lambda: put(self._client, upload_id, piece, start=gap.start), 200)  # noqa: B023
            acknowledged = acknowledged.add(ByteRange(gap.start, stop))
            self._look(upload_id, acknowledged)
        receipt = self._asked(lambda: complete(self._client, upload_id, data), 200)
        self.uploads.add(upload_id)
        self.receipts[receipt["published_as"]] = data

    def _look(self, upload_id: str, acknowledged: RangeSet) -> None:
        status = self._asked(lambda: self._client.get(f"/v1/uploads/{upload_id}"), 200)
        held = RangeSet(ByteRange(*one) for one in status["received"])
        lost = [one for one in acknowledged if not held.covers(one)]
        assert not lost, f"{upload_id} was acknowledged {lost}, and has {status['received']}"

    def _asked(self, ask: Callable[[], httpx.Response], *good: int) -> Any:
        """Return the answer, however often it takes."""
        while True:
            try:
                answer = ask()
            except httpx.HTTPError:
                continue  # nobody knows whether it arrived
            if answer.status_code in good:
                return answer.json()
            if answer.status_code not in AGAIN:
                where = f"{answer.request.method} {answer.request.url.path}"
                raise AssertionError(f"{where}: {answer.status_code} {answer.text}")

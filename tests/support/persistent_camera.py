"""A device that gives up on nothing, and keeps what was acknowledged to it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx

from tests.support.compat_site import sha256
from tests.support.core_site import new_key
from tests.support.tongues import File, Tongue
from upload_protocol.ranges import ByteRange, RangeSet

KB = 1000
GOOD = frozenset({200, 201, 204})
AGAIN = frozenset({202, 409, 429, 500, 502, 503, 504})
"""The balancer has no server, the server is busy or works on it, or what was asked is so already: look again."""
UNFINISHED = frozenset({"open", "verifying", "publishing"})
AFTER_S = 0.1


class PersistentCamera:
    """Uploads one recording after the other in a thread, in pieces of any length."""

    def __init__(
        self,
        client: httpx.Client,
        name: str,
        seed: int,
        tongue: Tongue,
        *,
        most: int = 60 * KB,
        restarts: bool = False,
    ) -> None:
        """Begin.

        Args:
            client: it closes that.
            name: what its files are called after.
            seed: of how long they and their pieces are.
            tongue: what it speaks.
            most: the longest file.
            restarts: whether the server may say that an upload has failed: a file is sent anew then.
        """
        self.restarts = 0
        self._may_restart = restarts
        self.wrong: list[str] = []
        """What was lost, or answered in a way that no device can go on from."""
        self.receipts: dict[str, str] = {}
        """Published name -> SHA-256 of what was sent."""
        self.uploads: set[str] = set()
        self.answers: Counter[int] = Counter()
        """How often each status came; 0: none."""
        self.acknowledged_bytes = 0
        self._client = client
        self._name = name
        self._tongue = tongue
        self._most = most
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
            length = self._random.randrange(self._most // 60, self._most)
            step = self._random.randrange(self._most // 6, self._most // 2)
            file = File(f"{self._name}-{count}.mp4", os.urandom(length), new_key(), step)
            try:
                while not self._upload(file):
                    self.restarts += 1
                    file = replace(file, key=new_key())
            except Exception as error:  # noqa: BLE001 - told by whoever looks
                self.wrong.append(f"{self._name}: {type(error).__name__}: {error}")

    def _upload(self, file: File) -> bool:
        """Return whether there is a receipt; else the server says that the upload has failed."""
        answer, begun = self._asked(lambda: self._tongue.begin(self._client, file))
        upload_id = self._tongue.id_in(answer)
        acknowledged = RangeSet([ByteRange(0, begun)] if begun else [])
        while (status := self._look(upload_id, acknowledged))["state"] in UNFINISHED:
            gaps = RangeSet(ByteRange(*one) for one in status["received"]).missing(len(file.data))
            if not gaps:
                self._ask(lambda: self._tongue.finish(self._client, upload_id, file))
                continue
            where = self._tongue.next_range(file, gaps)
            sent = self._ask(lambda: self._tongue.send(self._client, upload_id, file, where))  # noqa: B023
            if sent is not None:
                acknowledged = acknowledged.add(where)
        if self._may_restart and status["state"] == "failed":
            return False
        self.acknowledged_bytes += len(file.data)
        assert status["state"] == "complete", f"{file.name}: {status}"
        self.uploads.add(upload_id)
        self.receipts[status["receipt"]["published_as"]] = sha256(file.data)
        return True

    def _look(self, upload_id: str, acknowledged: RangeSet) -> dict[str, Any]:
        """Return the status; nothing that was acknowledged is missing in it."""
        answer, _ = self._asked(lambda: (self._client.get(f"/v1/uploads/{upload_id}"), 0))
        status: dict[str, Any] = answer.json()
        held = RangeSet(ByteRange(*one) for one in status["received"])
        lost = [one for one in acknowledged if not held.covers(one)]
        assert not lost or status["state"] == "complete", (
            f"{upload_id}: {lost} was acknowledged, not in {held}"
        )
        return status

    def _asked(self, ask: Callable[[], tuple[httpx.Response, int]]) -> tuple[httpx.Response, int]:
        """Return the good answer and what it acknowledges, however often it takes."""
        found: list[int] = []

        def once() -> httpx.Response:
            answer, acknowledged = ask()
            found[:] = [acknowledged]
            return answer

        while (answer := self._ask(once)) is None:
            pass
        return answer, found[0]

    def _ask(self, ask: Callable[[], httpx.Response]) -> httpx.Response | None:
        """Return the answer; None: nobody knows whether it was done.

        Raises:
            AssertionError: it is one that no device can go on from.
        """
        try:
            answer = ask()
        except httpx.HTTPError:
            self.answers[0] += 1
            return None
        self.answers[answer.status_code] += 1
        if answer.status_code in GOOD:
            return answer
        if answer.status_code not in AGAIN:
            where = f"{answer.request.method} {answer.request.url.path}"
            raise AssertionError(f"{where}: {answer.status_code} {answer.text}")
        time.sleep(AFTER_S)  # a device that is told to come back does not ask all the time
        return None

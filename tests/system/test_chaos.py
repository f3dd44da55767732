"""Three servers, one database and one store, and everything that befalls them; CHAOS_MINUTES plays it for longer."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ingest_server.core.events import COMPLETED
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.persistent_camera import PersistentCamera
from tests.support.processes import wait_for
from tests.support.replicas import Replicas, replicas

MINUTES = float(os.environ.get("CHAOS_MINUTES", "0"))
DEVICES = 40 if MINUTES else 3

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(300 + 120 * MINUTES)]


class Consumer(ThreadingHTTPServer):
    """Takes webhooks; keeps which event came for which upload, as often as it came."""

    daemon_threads = True

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                consumer.told.append((event["subject"], event["id"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def consumer():
    with Consumer() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def kill_one(site: Replicas, gets_on) -> None:
    one = random.choice(site.servers)
    one.kill()
    gets_on()
    one.start()


def stop_one(site: Replicas, gets_on) -> None:
    one = random.choice(site.servers)
    one.pause()
    gets_on()
    one.go_on()


def restart_the_database(site: Replicas, gets_on) -> None:
    site.database.stop()
    site.database.start()
    gets_on()


def kill_the_database(site: Replicas, gets_on) -> None:
    site.database.kill()
    site.database.start()
    gets_on()


TROUBLE = (kill_one, stop_one, restart_the_database, kill_the_database)


def test_whatever_befalls_the_servers_each_recording_arrives_once_and_is_told_of_once(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-the-tests-own-32-bytes")
    with consumer() as told:
        hook = {
            "url": f"http://127.0.0.1:{told.server_port}/",
            "secret_file": secret,
            "allow_private": True,
            "events": [COMPLETED],
        }
        with replicas(tmp_path, webhook=[hook]) as site:
            cameras = [
                PersistentCamera(site.client(site.token(f"cam-{n}"), timeout_s=5), f"cam-{n}", n)
                for n in range(DEVICES)
            ]
            for one in cameras:
                one.start()
            try:
                befall(site, cameras)
            finally:
                for one in cameras:
                    one.stop()
            assert [one.wrong for one in cameras] == [[]] * DEVICES

            uploads = set().union(*(one.uploads for one in cameras))
            receipts = {name: data for one in cameras for name, data in one.receipts.items()}
            assert site.published() == receipts
            assert len(receipts) == len(uploads)
            wait_for(lambda: {upload for upload, _ in told.told} == uploads, "all is told of")
            with closing(PostgresState.open(site.url)) as state:
                [*rows] = state.rows("SELECT subject FROM events WHERE type = ?", COMPLETED)
        assert Counter(subject for (subject,) in rows) == dict.fromkeys(uploads, 1)
        assert Counter(upload for upload, _ in set(told.told)) == dict.fromkeys(uploads, 1)


def befall(site: Replicas, cameras: list[PersistentCamera]) -> None:
    """Have each kind of trouble once, or as often as there is time for; all gets on after each."""

    def gets_on() -> None:
        before = [len(one.receipts) for one in cameras]
        wait_for(
            lambda: all(
                len(one.receipts) > count or one.wrong
                for one, count in zip(cameras, before, strict=True)
            ),
            "every device gets on",
            90.0 + 3 * DEVICES,
        )

    gets_on()
    ends_s = time.monotonic() + 60 * MINUTES
    while True:
        for trouble in random.sample(TROUBLE, len(TROUBLE)):
            trouble(site, gets_on)
        if time.monotonic() >= ends_s:
            return

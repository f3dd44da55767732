"""The laws against camera, link, server, owner, clock and power at once, in virtual time.

The whole agent and the real server, both mortal, over a link that breaks. Each rule is an adversary's move, each
invariant a law. In the end all adversaries rest, and whatever is on the card must arrive.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant

from ingest_server.core.events import GROUP_COMPLETED
from tests.support.adversaries import Adversaries
from tests.support.examples import LONG, examples

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SAFE_PATH = re.compile(r"/v1(/groups|/uploads(/[0-9a-f]{32}(/(content|complete|blocks))?)?)?")
SAFE_TARGET = re.compile(r"cam(/[^/\x00-\x1f\x7f]{1,255})+")
MANIFEST = re.compile(r"\.group(-\d+)?\.json$")


class Laws(Adversaries):
    """Each invariant has the number of its law, and says in its name what that is."""

    def let_go(self, name: bytes, fd: int) -> None:
        """The agent is about to unlink a file: it must not, but for a receipt (L2)."""
        inode = os.stat(name, dir_fd=fd).st_ino
        take = self.camera.takes.get(inode)
        if take is None:
            self.broken.append(f"L2: {name!r} goes, and is nobody's recording")
            return
        if self.camera.is_open(inode):
            self.broken.append(f"L2: {name!r} goes, and is open for writing")
        with closing(sqlite3.connect(f"file:{self.base}/agent.db?mode=ro", uri=True)) as database:
            kept = [
                json.loads(one)
                for (one,) in database.execute(
                    "SELECT receipt FROM recording WHERE receipt NOT NULL"
                )
            ]
        digests = {bytes_of(one["digest"]).hex() for one in kept}
        if take.digest not in digests:
            self.broken.append(f"L2: {name!r} goes, and no receipt for it is durable here")
        if take.digest not in self.published_digests():
            self.broken.append(f"L2: {name!r} goes, and the server does not hold it")
        super().let_go(name, fd)

    def published_digests(self) -> set[str]:
        return {hashlib.sha256(one).hexdigest() for one in self.server.published().values()}

    @invariant()
    def L1_what_was_acknowledged_is_recorded_and_stored(self):
        if hasattr(self, "device") and not self.server.is_dead:
            self.link.look()
            self.refuse("L1")

    @invariant()
    def L2_a_recording_leaves_only_after_its_durable_receipt(self):
        if not hasattr(self, "device"):
            return
        there = {
            os.stat(os.path.join(folder, name)).st_ino
            for folder in self.folders
            for name in os.listdir(folder)
        }
        lost = [take for inode, take in self.camera.takes.items() if inode not in there]
        assert not lost, f"L2: {lost} went, and nobody let it go"
        self.refuse("L2")

    @invariant()
    def L3_a_published_file_is_a_recording_and_stays_what_it_is(self):
        if not hasattr(self, "device"):
            return
        published = self.server.published()
        for target, digest in self.seen.items():
            assert target in published, f"L3: {target} was published, and is gone"
            found = hashlib.sha256(published[target]).hexdigest()
            assert found == digest, f"L3: {target} was published, and has other bytes"
        for target, content in published.items():
            digest = self.seen.setdefault(target, hashlib.sha256(content).hexdigest())
            if MANIFEST.search(target):
                self.look_at_manifest(json.loads(content), published)
            else:
                assert digest in self.camera.ever, f"L3: {target} never was a recording"

    def look_at_manifest(self, manifest: dict[str, Any], published: dict[str, bytes]) -> None:
        for one in manifest["members"]:
            content = published.get(one["published_as"])
            assert content is not None, f"L3: {one['name']} is in a manifest, and not published"
            found = hashlib.sha256(content).digest()
            assert found == bytes_of(one["digest"]), f"L3: {one['name']} is another in its manifest"

    @invariant()
    def L3_a_receipt_is_for_what_is_published(self):
        if not hasattr(self, "device"):
            return
        published = self.server.published()
        for one in self.device.recordings():
            if one.receipt is not None and one.receipt.upload_id == one.upload_id:
                content = published.get(one.receipt.published_as)
                assert content is not None, f"L3: the receipt of {one.name} is for nothing"
                assert hashlib.sha256(content).digest() == bytes_of(str(one.receipt.digest))

    @invariant()
    def L4_no_acknowledged_byte_is_sent_twice(self):
        if hasattr(self, "device"):
            self.refuse("L4")

    @invariant()
    def L5_every_wait_has_a_reason(self):
        if hasattr(self, "device"):
            assert not self.device.unexplained, f"L5: {self.device.unexplained[0]}"

    @invariant()
    def L7_a_name_reaches_no_path_uninterpreted(self):
        if not hasattr(self, "device"):
            return
        for path in self.link.paths:
            assert SAFE_PATH.fullmatch(path), f"L7: {path!r} was asked for"
        for target in self.server.published():
            assert SAFE_TARGET.fullmatch(target), f"L7: {target!r} was published"
            assert ".." not in target.split("/"), f"L7: {target!r} was published"

    @invariant()
    def L8_a_retry_takes_over_at_once(self):
        if hasattr(self, "device"):
            self.refuse("L8")

    @invariant()
    def a_group_is_told_of_once(self):
        if not hasattr(self, "device"):
            return
        told = Counter(
            (one.data["group"], one.data["revision"])
            for one, _ in self.server.state.tables.events.values()
            if one.type == GROUP_COMPLETED
        )
        assert all(count == 1 for count in told.values()), f"told more than once: {told}"

    def refuse(self, law: str) -> None:
        broken = [one for one in (*self.broken, *self.link.broken) if one.startswith(law)]
        assert not broken, broken[0]

    def all_rest(self) -> None:
        super().all_rest()
        for law in sorted(one for one in dir(self) if re.match(r"L\d_|a_group", one)):
            getattr(self, law)()


def bytes_of(digest: str) -> bytes:
    return base64.b64decode(digest.removeprefix("sha-256=:").removesuffix(":"))


CHOSEN = settings.default
IS_LONG = CHOSEN is not None and CHOSEN.max_examples >= LONG
Laws.TestCase.settings = settings(
    max_examples=examples(25),
    derandomize=not IS_LONG,
    # To find the shortest run takes minutes: where a short run failed, the long one tells.
    phases=[
        one for one in Phase if IS_LONG or one in {Phase.explicit, Phase.reuse, Phase.generate}
    ],
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLaws = Laws.TestCase

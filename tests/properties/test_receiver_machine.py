"""The whole upload resource against a plain model: what is acknowledged is what is stored."""

import shutil
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest_server.core.errors import Refused
from tests.support.core_site import STORES, BrokenBody, BytesBody, CoreSite, InThread, new_key
from tests.support.examples import examples
from tests.support.faulty_blobs import failing
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, CreateRequest, Extends
from upload_protocol.ranges import ByteRange

# Most of its time goes into restarts, which wait for the disk.
pytestmark = pytest.mark.timeout(1800)

LENGTH = 300
EARLIER = bytes(range(100))
"""What the device has published before."""
EXTENDS = Extends(Digest.of(EARLIER), len(EARLIER))

spans = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 150)).map(
    lambda span: (span[0], min(LENGTH, span[0] + span[1]))
)
# Few values, so that overwrites are often equal in part.
fills = st.binary(min_size=1, max_size=3).map(lambda unit: (unit * LENGTH)[:LENGTH])
steps = st.sampled_from([7, 32, 500])


class UploadResource(RuleBasedStateMachine):
    """``content[i]`` is the acknowledged byte at i, None where there is none."""

    stores = "files"

    @initialize(seal=st.sampled_from([1, 64, 10**6]), read=st.sampled_from([16, 4096]))
    def begin(self, seal, read):
        self.folder = Path(tempfile.mkdtemp(prefix="upload-resource-"))
        self.site = CoreSite(STORES[self.stores](self.folder), seal_bytes=seal, read_bytes=read)
        self.earlier = self.site.upload(EARLIER, "log.csv")
        self.key = new_key()
        self.upload = self.begin_upload(None).id
        self.content: list[int | None] = [None] * LENGTH
        self.is_complete = False
        self.is_aborted = False

    def whole(self) -> bytes:
        """Return the content, of which no byte is unknown any more."""
        return bytes(one for one in self.content if one is not None)

    def begin_upload(self, extends):
        request = CreateRequest("a.mp4", length=LENGTH, extends=extends)
        return self.site.receiver.creation.claim("cam", self.key, request)[0]

    def published(self) -> list[bytes]:
        found = self.site.published()
        assert found.pop(self.earlier.published_as) == EARLIER
        return list(found.values())

    def teardown(self):
        if hasattr(self, "site"):
            self.site.stop()
            shutil.rmtree(self.folder)

    is_open = precondition(lambda self: not self.is_complete and not self.is_aborted)

    def keep(self, start: int, data: bytes) -> None:
        self.content[start : start + len(data)] = data

    def forget_unless_recorded(self, start: int, stop: int, data: bytes) -> None:
        """A request that failed: each byte is the old one, the new one, or gone."""
        kept = self.site.receiver.status("cam", self.upload).received
        stored = self.site.stored(self.upload)
        for at in range(start, stop):
            is_kept = any(found.start <= at < found.stop for found in kept)
            if is_kept:
                assert stored[at] in {self.content[at], data[at - start]}
            self.content[at] = stored[at] if is_kept else None

    @is_open
    @rule(span=spans, fill=fills, step=steps, with_digest=st.booleans())
    def put(self, span, fill, step, with_digest):
        data = fill[span[0] : span[1]]
        digest = Digest.of(data) if with_digest else None

        status = self.site.put(
            self.upload, span[0], data, body=BytesBody(data, step), digest=digest, total=LENGTH
        )

        self.keep(span[0], data)
        assert any(one.start <= span[0] and span[1] <= one.stop for one in status.received)

    @is_open
    @rule(span=spans, fill=fills, step=steps, share=st.floats(0, 1, exclude_max=True))
    def put_that_breaks_off(self, span, fill, step, share):
        data = fill[span[0] : span[1]]
        arrived = data[: int(len(data) * share)]

        with pytest.raises(Refused, match="body-truncated"):
            self.site.put(
                self.upload,
                span[0],
                b"",
                stop=span[1],
                body=BrokenBody(arrived, ConnectionResetError(), step),
            )

        self.keep(span[0], arrived)
        self.forget_unless_recorded(span[0] + len(arrived), span[1], data[len(arrived) :])

    @is_open
    @rule(span=spans, fill=fills, step=steps)
    def put_whose_digest_does_not_fit(self, span, fill, step):
        data = fill[span[0] : span[1]]

        with pytest.raises(Refused, match="content-digest-mismatch"):
            self.site.put(
                self.upload,
                span[0],
                data,
                body=BytesBody(data, step),
                digest=Digest.of(data + b"!"),
            )

        self.forget_unless_recorded(span[0], span[1], data)

    @is_open
    @rule(
        span=spans,
        fill=fills,
        step=steps,
        at=st.sampled_from(["pwrite", "sync"]),
        after=st.integers(0, 4),
        error=st.sampled_from([OSError(5, "broken"), OSError(28, "full")]),
    )
    def put_on_a_failing_disk(self, span, fill, step, at, after, error):
        data = fill[span[0] : span[1]]
        self.site.blobs.fail[at] = failing(error, after=after)
        try:
            self.site.put(self.upload, span[0], data, body=BytesBody(data, step))
        except Refused as refused:
            assert refused.code in {"storage-failed", "storage-full"}  # noqa: PT017 - may succeed
        self.site.blobs.fail.clear()

        self.forget_unless_recorded(span[0], span[1], data)

    @is_open
    @rule()
    def a_copy_of_what_was_published_fills_the_gaps_and_nothing_else(self):
        status = self.begin_upload(EXTENDS)

        for at, byte in enumerate(EARLIER):
            self.content[at] = byte if self.content[at] is None else self.content[at]
        assert status.id == self.upload
        assert status.received.within(ByteRange(0, len(EARLIER))).total == len(EARLIER)

    @is_open
    @rule(
        at=st.sampled_from(["read published", "copy", "sync"]),
        error=st.sampled_from([OSError(5, "broken"), OSError(28, "full")]),
    )
    def a_copy_on_a_failing_disk(self, at, error):
        self.site.blobs.fail[at] = failing(error)
        with suppress(Refused):
            self.begin_upload(EXTENDS)
        self.site.blobs.fail.clear()

        self.forget_unless_recorded(0, len(EARLIER), EARLIER)

    @is_open
    @rule()
    def restart(self):
        self.site.restart()

    @is_open
    @rule(fill=fills)
    def complete_with_a_wrong_digest(self, fill):
        assume(list(fill) != self.content)
        expected = "ranges-missing" if None in self.content else "digest-mismatch"

        with pytest.raises(Refused, match=expected):
            self.site.complete(self.upload, fill)

    @is_open
    @rule(fill=fills)
    def fill_the_gaps_and_complete(self, fill):
        for gap in self.site.receiver.status("cam", self.upload).received.missing(LENGTH):
            self.site.put(self.upload, gap.start, fill[gap.start : gap.stop])
            self.keep(gap.start, fill[gap.start : gap.stop])
        data = self.whole()

        receipt = self.site.complete(self.upload, data)

        assert receipt.digest == Digest.of(data)
        assert self.published() == [data]
        self.is_complete = True

    @is_open
    @rule(span=spans, fill=fills, others=fills)
    def two_requests_at_once_over_the_same_bytes(self, span, fill, others):
        """One takes over from the other: what is recorded is of either, and nothing else."""
        contents = [fill[span[0] : span[1]], others[span[0] : span[1]]]

        def put(data: bytes) -> None:
            with suppress(Refused):
                self.site.put(self.upload, span[0], data, body=BytesBody(data, 16))

        for request in [InThread(partial(put, data)) for data in contents]:
            request.join()

        received = self.site.receiver.status("cam", self.upload).received
        stored = self.site.stored(self.upload)
        for at in range(*span):
            is_kept = any(found.start <= at < found.stop for found in received)
            before = {self.content[at], *(data[at - span[0]] for data in contents)}
            assert not is_kept or stored[at] in before
            self.content[at] = stored[at] if is_kept else None

    @is_open
    @rule(at=st.integers(0, LENGTH - 1), fill=fills)
    def a_bit_flips_on_the_disk_and_is_repaired(self, at, fill):
        assume(self.content[at] is not None)
        self.site.blobs.rot(self.upload, at)
        self.site.restart()
        for gap in self.site.receiver.status("cam", self.upload).received.missing(LENGTH):
            self.site.put(self.upload, gap.start, fill[gap.start : gap.stop])
            self.keep(gap.start, fill[gap.start : gap.stop])
        with pytest.raises(Refused, match="digest-mismatch"):
            self.site.complete(self.upload, self.whole())

        blocks = self.site.receiver.blocks.read(
            "cam", self.upload, size=4096, start=0, limit=1
        ).blocks
        assert blocks[0] != Digest.of(self.whole())
        self.site.put(self.upload, 0, self.whole())

        self.complete_twice_at_once()

    @is_open
    @precondition(lambda self: None not in self.content)
    @rule()
    def complete_twice_at_once(self):
        data = self.whole()

        asking = [InThread(lambda: self.site.complete(self.upload, data)) for _ in range(2)]

        first, second = (one.join() for one in asking)
        assert first == second
        assert self.published() == [data]
        self.is_complete = True

    # Rare, since nothing much can follow.
    @is_open
    @rule(draw=st.integers(0, 9))
    def abort(self, draw):
        assume(draw == 0)

        assert self.site.receiver.abort("cam", self.upload).state == "aborted"

        self.is_aborted = True

    @precondition(lambda self: self.is_aborted)
    @rule()
    def an_aborted_upload_takes_nothing_and_leaves_nothing(self):
        self.site.restart()

        with pytest.raises(Refused, match="upload-aborted"):
            self.site.put(self.upload, 0, b"x")
        with pytest.raises(Refused, match="upload-aborted"):
            self.site.complete(self.upload, b"x")
        assert self.site.blobs.part_ids() == []
        assert self.published() == []

    @precondition(lambda self: self.is_complete)
    @rule()
    def a_complete_upload_takes_no_more_and_is_not_aborted(self):
        with pytest.raises(Refused, match="not-open"):
            self.site.put(self.upload, 0, b"x")
        with pytest.raises(Refused, match="not-open"):
            self.site.receiver.abort("cam", self.upload)

    @precondition(lambda self: self.is_complete)
    @rule()
    def complete_again(self):
        data = self.whole()
        self.site.restart()

        assert self.site.complete(self.upload, data).digest == Digest.of(data)
        assert self.published() == [data]

    @invariant()
    def what_is_recorded_is_what_was_acknowledged(self):
        if not hasattr(self, "site") or self.is_complete or self.is_aborted:
            return
        received = self.site.state.get(self.upload).received
        assert received.total == sum(byte is not None for byte in self.content)
        stored = self.site.stored(self.upload)
        for found in received:
            expected = self.content[found.start : found.stop]
            assert list(stored[found.start : found.stop]) == expected

    @is_open
    @rule()
    def ask_for_an_impossible_completion(self):
        with pytest.raises(Refused, match="inconsistent-length"):
            self.site.receiver.complete(
                "cam", self.upload, CompleteRequest(LENGTH + 1, Digest.of(b""))
            )


class InMemory(UploadResource):
    stores = "memory"


class WrittenOnce(UploadResource):
    stores = "write-once"


for machine in (UploadResource, InMemory, WrittenOnce):
    machine.TestCase.settings = settings(
        max_examples=examples(60),
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
TestUploadResource = UploadResource.TestCase
TestUploadResourceInMemory = InMemory.TestCase
TestUploadResourceWrittenOnce = WrittenOnce.TestCase

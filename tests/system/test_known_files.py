"""Metadata stands for no content: other bytes are sent, and the same ones are not, whatever it says."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import MB
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LONG_AGO_NS = 315_532_800 * 10**9
"""What a camera without a clock writes, always."""


def contents(here):
    return {path.read_bytes() for path in here.server.published_files()}


def totals(here):
    return here.agent.state_if_any().get("totals", {"files_done": 0})


@pytest.mark.parametrize("how", ["in place", "made anew", "renamed over"])
def test_L3_other_bytes_under_a_known_name_length_and_time_are_sent(tmp_path, how):
    first, second = os.urandom(100_000), os.urandom(100_000)
    with site(tmp_path) as here:
        path = here.agent.media / "a.mp4"
        path.write_bytes(first)
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: totals(here)["files_done"] == 1, "the receipt is here")

        written = path.with_name(".new") if how == "renamed over" else path
        if how == "made anew":
            path.unlink()
        written.write_bytes(second)
        os.utime(written, ns=(LONG_AGO_NS, LONG_AGO_NS))
        written.rename(path)

        wait_for(lambda: contents(here) == {first, second}, "the other bytes are published", 60)


def test_a_device_that_lost_its_state_and_whose_card_has_another_clock_sends_no_byte_again(
    tmp_path,
):
    with site(tmp_path) as here:
        files = [here.agent.media / f"{number}.mp4" for number in range(5)]
        for path in files:
            path.write_bytes(os.urandom(MB))
        here.agent.start()
        here.wait_until_published(5)
        wait_for(lambda: totals(here)["files_done"] == 5, "the receipts are here")
        here.agent.stop()
        shutil.rmtree(here.agent.state_dir)
        for path in files:
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 3600))
        sent = here.link.sent

        here.agent.start()
        wait_for(lambda: totals(here)["files_done"] == 5, "the receipts are here again")

        assert totals(here)["bytes_sent"] == 0
        assert here.link.sent - sent < MB // 10
        assert len(here.server.published_files()) == 5


@pytest.mark.parametrize("numbers", ["the same numbers", "other numbers"])
def test_a_card_whose_times_are_another_hour_after_the_clocks_changed_is_no_other_card(
    tmp_path, numbers
):
    with site(tmp_path) as here:
        files = [here.agent.media / f"{number}.mp4" for number in range(3)]
        for path in files:
            path.write_bytes(os.urandom(MB))
        here.agent.start()
        here.wait_until_published(3)
        wait_for(lambda: totals(here)["files_done"] == 3, "the receipts are here")
        here.agent.stop()
        for path in files:
            hour_on_ns = path.stat().st_mtime_ns + 3600 * 10**9
            if numbers == "other numbers":  # as FAT gives them at each mount
                shutil.copyfile(path, path.with_name(".copy"))
                path.with_name(".copy").rename(path)
            os.utime(path, ns=(hour_on_ns, hour_on_ns))
        sent = here.link.sent

        here.agent.start()
        last = here.agent.media / "last.mp4"
        last.write_bytes(os.urandom(1000))
        here.wait_until_published(4)
        wait_for(lambda: here.agent.state()["queue"]["files"] == 0, "nothing waits")

        assert here.link.sent - sent < MB // 10
        assert len(here.published_digests()) == 4
        assert sorted(row["name"] for row in here.agent.status()["files"]) == sorted(
            path.name for path in (*files, last)
        )


def test_of_a_file_that_is_replaced_faster_than_it_is_sent_what_was_begun_arrives_and_then_the_last(
    tmp_path,
):
    with site(tmp_path, upload={"max_rate": "1MB"}) as here:
        path, made = here.agent.media / "a.mp4", []
        here.agent.start()

        def replace():
            made.append(os.urandom(3 * MB))
            path.with_name(".new").write_bytes(made[-1])
            path.with_name(".new").rename(path)

        replace()
        wait_for(lambda: here.link.sent > MB, "it is under way", 30)
        replace()
        replace()

        wait_for(lambda: len(contents(here)) == 2, "two of them arrive", 30)
        assert contents(here) == {made[0], made[-1]}
        assert totals(here)["bytes_resent"] == 0

"""Folders and numbers of files that change under a recording while it is sent; writers that are seen nowhere near."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.file_systems import disk_image, tmpfs
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.requirements import require_root
from tests.support.site import Site, site
from upload_protocol.digests import Digest

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(120)]

LETTING_GO = {"delete": "after_verified"}
SLOW = {"max_rate": "500KB", "max_lanes": 1}
LONG_AGO = (1_700_000_000, 1_700_000_000)


def random_bytes(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def digest(*contents: bytes) -> list[str]:
    return sorted(Digest.of(one).value.hex() for one in contents)


def published(here: Site) -> list[str]:
    return sorted(map(sha256, here.server.published_files()))


def wait_for_a_part(here: Site, name: str) -> None:
    def has_part() -> bool:
        return here.server.open_uploads(here.agent.token).get(name, 0) > 300_000

    wait_for(has_part, "a part is sent")


@pytest.mark.parametrize("has_successor", [False, True])
def test_a_folder_that_is_renamed_while_a_file_in_it_is_sent(tmp_path, has_successor):
    with site(tmp_path, upload=SLOW, retention=LETTING_GO) as here:
        before, after = here.agent.media / "trip", here.agent.media / "trip-1"
        before.mkdir()
        contents = [random_bytes(2_000_000)]
        (before / "a.mp4").write_bytes(contents[0])
        here.agent.start()
        wait_for_a_part(here, "a.mp4")
        before.rename(after)
        if has_successor:
            before.mkdir()
            contents.append(random_bytes(1_000_000, 2))
            (before / "a.mp4").write_bytes(contents[1])
        here.wait_until_published(len(contents))
        wait_for(lambda: not list(here.agent.media.rglob("*.mp4")), "all are let go")

        assert published(here) == digest(*contents)
        assert here.link.sent <= sum(map(len, contents)) + 32 * 1024, "no byte went twice"


def test_another_file_with_the_number_the_length_and_the_time_of_one_that_waits(tmp_path):
    media = tmp_path / "device" / "media"
    media.parent.mkdir()
    with (
        disk_image("ext4", media),
        site(
            tmp_path,
            upload=SLOW,
            retention=LETTING_GO,
            priority=[{"match": "first.mp4", "value": 5}],
        ) as here,
    ):
        first, old, new = (random_bytes(length, length) for length in (2_000_000, 399_999, 400_000))
        (media / "first.mp4").write_bytes(first)
        (media / "a.mp4").write_bytes(old + b"x")
        os.utime(media / "a.mp4", LONG_AGO)
        number = (media / "a.mp4").stat().st_ino
        here.agent.start()
        wait_for_a_part(here, "first.mp4")
        (media / "a.mp4").unlink()
        (media / "a.mp4").write_bytes(new)
        os.utime(media / "a.mp4", LONG_AGO)
        is_used_again = (media / "a.mp4").stat().st_ino == number
        here.wait_until_published(2)
        wait_for(lambda: not list(media.rglob("*.mp4")), "all are let go")

        assert is_used_again
        assert published(here) == digest(first, new)


def test_a_file_of_the_lower_layer_of_an_overlay_that_is_changed_while_it_is_sent(tmp_path):
    require_root()
    media, lower, layers = tmp_path / "device" / "media", tmp_path / "lower", tmp_path / "layers"
    for folder in (media, lower):
        folder.mkdir(parents=True)
    before = random_bytes(2_000_000)
    (lower / "a.mp4").write_bytes(before)
    with tmpfs(layers):
        for name in ("upper", "work"):
            (layers / name).mkdir()
        told = f"lowerdir={lower},upperdir={layers / 'upper'},workdir={layers / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", told, "overlay", media], check=True)
        try:
            quick = {"fallback_settle_seconds": 1.0}
            with site(tmp_path, upload=SLOW, watch=quick) as here:
                here.agent.start()
                wait_for_a_part(here, "a.mp4")
                with (media / "a.mp4").open("r+b") as file:
                    file.write(b"z" * 100)
                here.wait_until_published(1)
                with (media / "a.mp4").open("r+b") as file:  # the same length
                    file.write(b"y" * 100)
                os.utime(media / "a.mp4", LONG_AGO)
                here.wait_until_published(2)

                changed = [letter * 100 + before[100:] for letter in (b"z", b"y")]
                assert published(here) == digest(*changed)
        finally:
            subprocess.run(["umount", "--lazy", media], check=True)


ELSEWHERE = """
import os, pathlib, sys, time
with open("n.part.mp4", "wb", buffering=0) as file:
    for number in range(4):
        file.write(bytes([number]) * 100_000)
        time.sleep(1.5)
    os.rename("n.part.mp4", "n.mp4")
    file.write(b"the end")
    time.sleep(1.5)
    pathlib.Path(sys.argv[1]).touch()
"""


def test_a_recorder_in_another_mount_and_process_namespace_is_seen_to_write(tmp_path):
    require_root()
    with site(tmp_path, retention=LETTING_GO) as here:
        here.agent.start()
        here.agent.state()
        bound = tmp_path / "bound"
        bound.mkdir()
        writes = (
            f'mount --bind "{here.agent.media}" "{bound}" && cd "{bound}" && exec "$0" -c "$1" "$2"'
        )
        away = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private"]
        ends = tmp_path / "it-closes-the-file-now"
        records = ["sh", "-c", writes, sys.executable, ELSEWHERE, str(ends)]
        with subprocess.Popen([*away, *records]) as recorder:
            wait_for(lambda: here.agent.status()["files"], "it is seen")
            early: list[Path] = []
            while recorder.poll() is None:
                found = here.server.published_files()
                if ends.exists():
                    break
                early += found
        here.wait_until_published(1)

        whole = b"".join(bytes([number]) * 100_000 for number in range(4)) + b"the end"
        assert recorder.returncode == 0
        assert early == []
        assert published(here) == digest(whole)
        assert here.agent.state()["totals"]["files_failed"] == 0

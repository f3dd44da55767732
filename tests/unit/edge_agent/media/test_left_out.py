"""A walk through a folder accounts for every entry: taken, or left out for a cause."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from edge_agent.base.settings import WatchSettings
from edge_agent.core.left_out import Cause
from edge_agent.media.folder import NameRules
from edge_agent.media.scan import Scan
from tests.support.noted import noted

DEFAULTS = WatchSettings(folder=Path("/media"))
NOBODY = 65534


def look(root, *, recursive=True, patterns=("*.mp4",), ignore=("*.part",)):
    scan = Scan(os.fsencode(root), NameRules(patterns, ignore), recursive=recursive)
    taken = sorted(os.path.basename(path) for path, _ in scan)
    return taken, {one.cause: (one.count, set(one.examples)) for one in scan.left_out}


def write(*paths):
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


def test_every_entry_is_taken_or_counted(tmp_path):
    write(tmp_path / "a.mp4", tmp_path / "b.xyz", tmp_path / "c.part", tmp_path / ".d.mp4")
    write(tmp_path / "sub" / "e.mp4", tmp_path / ".cache" / "f.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")

    taken, left_out = look(tmp_path)

    assert taken == [b"a.mp4", b"e.mp4"]
    assert left_out == {
        Cause.PATTERNS: (1, {"b.xyz"}),
        Cause.IGNORED: (1, {"c.part"}),
        Cause.HIDDEN: (2, {".d.mp4", ".cache"}),
        Cause.SPECIAL: (1, {"pipe.mp4"}),
    }


def test_folders_that_the_owner_does_not_want_looked_into_are_named(tmp_path):
    write(tmp_path / "a.mp4", tmp_path / "sub" / "e.mp4")

    taken, left_out = look(tmp_path, recursive=False)

    assert (taken, left_out) == ([b"a.mp4"], {Cause.NOT_RECURSIVE: (1, {"sub"})})


def test_a_link_is_left_out_only_where_it_leads_to_what_is_not_found_anyway(tmp_path):
    media, other = tmp_path / "media", tmp_path / "other"
    write(media / "a.mp4", other / "b.mp4", media / ".cache" / "c.mp4")
    (media / "last.mp4").symlink_to("a.mp4")
    (media / "again").symlink_to(media)
    assert Cause.LINK not in look(media)[1]

    (media / "out.mp4").symlink_to(other / "b.mp4")
    (media / "events").symlink_to(other)
    (media / "nowhere.mp4").symlink_to("gone.mp4")
    (media / "hidden.mp4").symlink_to(".cache/c.mp4")

    taken, left_out = look(media)

    assert taken == [b"a.mp4"]
    assert left_out[Cause.LINK][0] == 4


def test_a_link_that_would_not_be_sent_if_it_were_a_file_is_left_out_for_that(tmp_path):
    write(tmp_path / "a.mp4")
    (tmp_path / "a.mp4.part").symlink_to("drone:4711")  # as programs lock that make a link of it
    (tmp_path / ".current").symlink_to("/elsewhere")

    taken, left_out = look(tmp_path)

    assert taken == [b"a.mp4"]
    assert left_out == {
        Cause.IGNORED: (1, {"a.mp4.part"}),
        Cause.HIDDEN: (1, {".current"}),
    }


def test_what_a_link_leads_to_outside_the_folder_is_never_asked_for(tmp_path, monkeypatch):
    """On a server that is dead the kernel would wait for it without end."""
    media, server = tmp_path / "media", tmp_path / "server"
    write(media / "a.mp4")
    (media / "nas").symlink_to(server)
    (media / "film.mp4").symlink_to("../server/film.mp4")
    (media / "below.mp4").symlink_to("nas/film.mp4")
    touched: list[Any] = []
    for name in ("lstat", "stat", "readlink"):
        monkeypatch.setattr(os, name, noted(touched, getattr(os, name)))

    taken, left_out = look(media)

    assert taken == [b"a.mp4"]
    assert left_out == {Cause.LINK: (2, {"nas", "film.mp4"})}
    assert [path for path in touched if b"server" in os.fsencode(path)] == []


def test_a_link_may_call_the_folder_as_the_owner_does(tmp_path):
    media, card = tmp_path / "media", tmp_path / "card"
    write(card / "a.mp4")
    media.symlink_to(card)
    (card / "last.mp4").symlink_to(media / "a.mp4")
    (card / "gone.mp4").symlink_to(media / "b.mp4")
    rules = NameRules(["*.mp4"], [])
    scan = Scan(os.fsencode(card), rules, recursive=True, configured=os.fsencode(media))

    assert [path for path, _ in scan] == [os.fsencode(card / "a.mp4")]
    assert [(one.cause, one.examples) for one in scan.left_out] == [(Cause.LINK, ("gone.mp4",))]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_this_user_may_not_read_is_named_and_the_rest_is_found():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        write(root / "own.mp4", root / "secret.mp4", root / "sub" / "in.mp4", root / "group.mp4")
        (root / "secret.mp4").chmod(0o600)
        (root / "sub").chmod(0o700)
        (root / "group.mp4").chmod(0o640)
        os.chown(root / "group.mp4", 0, os.getegid())
        os.seteuid(NOBODY)
        try:
            taken, left_out = look(root)
        finally:
            os.seteuid(0)

    assert taken == [b"group.mp4", b"own.mp4", b"secret.mp4"]
    assert left_out == {Cause.PERMISSION: (2, {"secret.mp4", "sub: Permission denied"})}


@pytest.mark.parametrize(
    "names",
    [
        "DJI_0001.MP4 DJI_0001.SRT DJI_0001.LRF DJI_0001.DNG Timestamp.MRK PPKOBS.obs GX010001.LRV",
        "GOPR0001.GPR GX010001.THM VID_1.insv IMG_1.insp DSC0001.ARW _MG_1.CR3 DSC_1.NEF clip.mxf",
        "20261128_N.gps 20261128_N.3gf track.nmea clip.braw IMG_0001.HEIC IMG_0001.AAE note.m4a",
        "metadata.yaml f_0.db3 f_0.db3.zstd f_0.mcap f_0.mcap.zstd f.bag depth.npy depth.exr",
        "rlog.zst qlog rlog.bz2 qcamera.ts fcamera.hevc 2026.tlog log_13.ulg.gz 42.BIN s.rlog",
        "scan.pcap scan.pcapng cloud.las cloud.laz cloud.e57 scan.lvx2 L1.LDR L1.RTK thermal.rjpeg",
    ],
)
def test_what_recorders_write_is_sent_by_default(names):
    rules = NameRules(DEFAULTS.patterns, DEFAULTS.ignore)

    assert [name for name in names.split() if rules.why_not(name.encode())] == []


@pytest.mark.parametrize(
    "name",
    [
        "f.bag.active",
        "a.mp4.part",
        "a.mp4.download",
        "f.db3-wal",
        "f.db3-journal",
        "live.m3u8",
        "Thumbs.db",
    ],
)
def test_what_is_unfinished_or_changes_for_ever_is_ignored_by_default(name):
    rules = NameRules(DEFAULTS.patterns, DEFAULTS.ignore)

    assert rules.why_not(name.encode()) is Cause.IGNORED

"""L7: a name is data."""

import json
import os
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest_server.core.errors import Refused
from ingest_server.core.names import NameTemplate, as_text, component, fitted, numbered
from tests.support.core_site import CoreSite, new_key
from upload_protocol.messages import CreateRequest

HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows\\system32",
    "/etc/passwd",
    "//etc/passwd",
    "C:\\boot.ini",
    "C:boot.ini",
    "\\\\server\\share",
    "a/b",
    "a\\b",
    "a\0b",
    "\0",
    "a\r\nSet-Cookie: x",
    "a\nb",
    "\x1b[31mred",
    "\x7f",
    "...",
    "....",
    ". .",
    " ",
    "  a  ",
    "a.",
    "a ",
    ".hidden",
    "..mp4",
    ".mp4",
    "CON",
    "con.mp4",
    "NUL",
    "COM1.txt",
    "LPT9",
    "aux.tar.gz",
    "a:b",
    "a|b",
    'a"b',
    "a<b>",
    "a*b?",
    "\u202egpj.exe",
    "\u200b",
    "\u202e.mp4",
    "\ufeffbom",
    "\ud800",
    "\udcff\udc80.mp4",
    "caf\u00e9.mp4",
    "cafe\u0301.mp4",
    "\U0001f3a5.mp4",
    "e" * 300,
    "\U0001f3a5" * 100 + ".mp4",
    "a." + "x" * 300,
    "%2e%2e%2f",
    "{name}",
    "{device.__class__}",
    "%s%n",
    "'; DROP TABLE uploads; --",
    "$(reboot)",
    "`reboot`",
    "-rf",
    "~",
    "lost+found",
    "a" * 250 + ".mp4",
]


def inside(path: str) -> bool:
    parts = path.split("/")
    return all(
        part not in {"", ".", ".."} and "\0" not in part and len(os.fsencode(part)) <= 255
        for part in parts
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_l7_a_hostile_name_is_published_inside_and_comes_back_as_data(tmp_path, name):
    site = CoreSite(tmp_path / "data", name_template="{device}/{folder}/{name}")
    status, _ = site.receiver.creation.create(
        "cam",
        new_key(),
        CreateRequest(name, folder=f"{name}/../x", length=3, metadata={name: name}),
    )
    site.put(status.id, 0, b"abc")

    receipt = site.complete(status.id, b"abc")

    assert status.name == receipt.name == as_text(name)
    if not any("\ud800" <= one <= "\udfff" for one in name):
        assert receipt.name == name
    assert inside(receipt.published_as)
    root = tmp_path / "data" / "published"
    real = Path(os.path.realpath(root / receipt.published_as))
    assert real.is_relative_to(root)
    assert real.read_bytes() == b"abc"
    json.dumps(receipt.to_json(), ensure_ascii=False).encode()
    listed, _ = site.receiver.listing.page("cam", state=None, after=None, limit=9)
    assert [one.name for one in listed] == [receipt.name]
    site.stop()
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 5000])
def test_what_no_file_can_be_called_is_refused(site, name):
    with pytest.raises(Refused, match="invalid-name"):
        site.create(name)


def test_a_folder_beyond_all_measure_is_refused(site):
    with pytest.raises(Refused, match="invalid-name"):
        site.create("a", folder="x/" * 40)


@pytest.mark.parametrize(
    ("raw", "made"),
    [
        ("flight 1.mp4", "flight 1.mp4"),
        ("\u202e.mp4", "unnamed.mp4"),
        ("\0", "unnamed"),
        ("con.mp4", "_con.mp4"),
        ("a/b", "a_b"),
        (".hidden", ".hidden"),
        ("cafe\u0301", "caf\u00e9"),
        ("\udcff.mp4", "%FF.mp4"),
        ("\ud800", "%ED%A0%80"),
        ("-rf", "_-rf"),
        (" -rf", "_-rf"),
        ("~", "_~"),
        ("~root", "_~root"),
        ("a\u2028b\u2029.mp4", "ab.mp4"),
        ("\u2028-x", "_-x"),
        ("CONIN$", "_CONIN$"),
        ("conout$.txt", "_conout$.txt"),
        ("Clock$", "_Clock$"),
        ("CON .mp4", "_CON .mp4"),
        ("com1  .tar.gz", "_com1  .tar.gz"),
        ("console.mp4", "console.mp4"),
        ("a. . ", "a"),
        ("a" * 254 + " b", "a" * 254),
        ("a" * 254 + ".." + "b" * 40, "a" * 254),
    ],
)
def test_what_becomes_of_a_name(raw, made):
    assert component(raw) == made


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("C:\\Users\\me\\clip.mp4", "clip.mp4"),
        ("c:/videos/clip.mp4", "clip.mp4"),
        ("\\\\server\\share\\clip.mp4", "clip.mp4"),
        ("C:\\", "C_"),
        ("C:\\..", "unnamed"),
        ("C:clip.mp4", "C_clip.mp4"),
        ("a\\b.mp4", "a_b.mp4"),
        ("a/b.mp4", "a_b.mp4"),
    ],
)
def test_of_a_whole_path_of_windows_the_last_part_is_the_name(name, published):
    template = NameTemplate("{name}")

    assert template.path(device="cam", folder="", date="2026-11-21", name=name) == published


def test_twins_in_two_unicode_forms_are_both_kept(site):
    site.upload(b"composed", "\u00e9.mp4")
    site.upload(b"decomposed", "e\u0301.mp4")

    assert sorted(site.published().values()) == [b"composed", b"decomposed"]


def test_a_long_name_is_cut_before_its_extension_between_characters():
    cut = fitted("\U0001f3a5" * 100 + ".mp4", "-12")

    assert len(cut.encode()) <= 255
    assert cut.endswith("\U0001f3a5-12.mp4")


def test_numbers_come_before_the_extension():
    assert list(islice(numbered("cam/a.mp4"), 3)) == ["cam/a.mp4", "cam/a-2.mp4", "cam/a-3.mp4"]
    assert list(islice(numbered("cam/.hidden"), 2)) == ["cam/.hidden", "cam/.hidden-2"]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{device}/{date}", r"must contain \{name\}"),
        ("{name}/{other}", r"has \{other\}"),
        ("{name!r}", "name only"),
        ("{name:>10}", "name only"),
        ("{name", "cannot be read"),
        ("{}", r"has \{\}"),
        ("{name.__class__}", "has"),
        ("/{name}", "below the published folder"),
        ("{device}//{name}", "below the published folder"),
        ("../{name}", "below the published folder"),
        ("a|b/{name}", "characters"),
        ("a\n/{name}", "characters"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence(template, says):
    with pytest.raises(ValueError, match=says) as caught:
        NameTemplate(template)

    assert "\n" not in str(caught.value)


def test_an_empty_folder_leaves_no_level():
    template = NameTemplate("{device}/{folder}/{date}-{name}")
    values = {"device": "cam", "date": "2026-11-21", "name": "a.mp4"}

    assert template.path(folder="", **values) == "cam/2026-11-21-a.mp4"
    assert template.path(folder="x/./../y", **values) == "cam/x/y/2026-11-21-a.mp4"


def test_the_date_of_the_recording_is_the_uploads_where_nobody_knows_it():
    template = NameTemplate("{recorded}/{date}/{name}")
    values = {"device": "cam", "folder": "", "date": "2026-11-21", "name": "a.mp4"}

    assert template.path(**values) == "2026-11-21/2026-11-21/a.mp4"
    assert template.path(**values, recorded="2026-11-14") == "2026-11-14/2026-11-21/a.mp4"


@given(name=st.text(st.characters(exclude_categories=()), min_size=1), folder=st.text())
@example(name="\ud800", folder="a")
@example(name="a" * 254 + "\U0001f3a5", folder="..")
def test_any_name_becomes_a_path_inside(name, folder):
    path = NameTemplate("{folder}/x-{folder}/{date}{name}").path(
        device="cam", folder=as_text(folder), date="2026-11-21", name=as_text(name)
    )

    assert inside(path)
    assert not any(part.startswith(("-", "~")) or part[-1] in " ." for part in path.split("/"))
    assert len(path.splitlines()) == 1
    assert all(inside(one) for one in islice(numbered(path), 12))
    as_text(name).encode()

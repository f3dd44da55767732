"""A user's entry in access lists: what it gives, that it takes nothing from others, and that it goes again."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.setup import acl
from edge_agent.setup.acl import MASK, NO_ID, READ, Entry
from tests.support.requirements import require_root

UID, OTHER_UID = 61234, 61235
USER_OBJ, USER, GROUP_OBJ, GROUP, OTHER = 0x01, 0x02, 0x04, 0x08, 0x20
may = st.integers(0, 7)


@st.composite
def lists(draw):
    """Lists that the kernel takes, with or without somebody else's entry."""
    plain = [Entry(tag, draw(may)) for tag in (USER_OBJ, GROUP_OBJ, OTHER)]
    named = draw(
        st.sampled_from([[], [Entry(USER, draw(may), OTHER_UID)], [Entry(GROUP, draw(may), 7)]])
    )
    return [*plain, *named, *([Entry(MASK, draw(may))] if named else [])]


def effective(entries):
    """Return what each but the user itself may do."""
    bound = next((e.may for e in entries if e.tag == MASK), 7)
    return {
        (e.tag, e.id): e.may & bound if e.tag in {USER, GROUP_OBJ, GROUP} else e.may
        for e in entries
        if e.tag != MASK and (e.tag, e.id) != (USER, UID)
    }


@given(lists(), may)
def test_the_user_may_what_it_is_given_and_nobody_else_more_or_less(entries, wanted):
    after = acl.with_user(entries, UID, wanted)

    bound = next(e.may for e in after if e.tag == MASK)
    assert Entry(USER, wanted, UID) in after
    assert wanted & bound == wanted
    assert effective(after) == effective(entries)


@given(lists(), may)
def test_what_is_taken_back_leaves_the_others_as_they_were(entries, wanted):
    after = acl.without_user(acl.with_user(entries, UID, wanted), UID)

    assert effective(after) == effective(entries)
    assert any(e.tag == MASK for e in after) == any(e.tag == MASK for e in entries)


@pytest.fixture
def folder(tmp_path):
    require_root()
    (tmp_path / "media" / "deep").mkdir(parents=True)
    (tmp_path / "media" / "deep" / "a.mp4").write_text("a")
    (tmp_path / "media" / "deep" / "a.mp4").chmod(0o600)
    return tmp_path / "media"


def lists_of(path):
    return {
        name: os.getxattr(path, name)
        for name in os.listxattr(path, follow_symlinks=False)
        if "acl" in name
    }


def entries_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return acl.read(fd)
    finally:
        os.close(fd)


def test_a_private_file_is_readable_and_what_comes_later_too_until_it_is_taken_back(folder):
    before = {one: (one.stat().st_mode, lists_of(one)) for one in (folder, *folder.rglob("*"))}

    acl.open_folder(os.fsencode(folder), UID, READ)
    later = folder / "deep" / "later.mp4"
    later.write_text("b")
    assert Entry(USER, READ, UID) in entries_of(folder / "deep" / "a.mp4")
    assert UID in {e.id for e in entries_of(later)}
    acl.close_folder(os.fsencode(folder), UID)

    assert max(e.id for e in entries_of(later)) == NO_ID
    later.unlink()
    assert {
        one: (one.stat().st_mode, lists_of(one)) for one in (folder, *folder.rglob("*"))
    } == before


def test_somebody_elses_file_is_not_opened_by_a_link_or_a_second_name(folder, tmp_path):
    secret = tmp_path / "shadow"
    secret.write_text("root's")
    secret.chmod(0o600)
    os.chown(folder, OTHER_UID, OTHER_UID)
    (folder / "link.mp4").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    os.link(secret, folder / "second.mp4")
    os.mkfifo(folder / "pipe.mp4")

    acl.open_folder(os.fsencode(folder), UID, READ)

    assert lists_of(secret) == {}
    assert lists_of(tmp_path) == {}

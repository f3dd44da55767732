"""Which recordings may go, and when the disk is said to be low."""

import pytest

from edge_agent.core.recording import Identity
from edge_agent.core.retention import RetentionVerdict, is_low, verdict

FOR_EVER, FOR_NOW, DELETE = (
    RetentionVerdict.KEEP_FOR_EVER,
    RetentionVerdict.KEEP_FOR_NOW,
    RetentionVerdict.DELETE,
)


@pytest.mark.parametrize(
    ("deletes", "is_ours", "keep_free", "free", "wanted"),
    [
        (False, True, 0, 0, FOR_EVER),
        (True, False, 0, 0, FOR_EVER),
        (True, True, 0, 10**12, DELETE),
        (True, True, 0, None, DELETE),
        (True, True, 1, None, FOR_NOW),
        (True, True, 100, 100, FOR_NOW),
        (True, True, 100, 99, DELETE),
    ],
)
def test_only_what_was_watched_goes_and_only_while_room_is_needed(
    deletes, is_ours, keep_free, free, wanted
):
    assert verdict(deletes=deletes, is_ours=is_ours, keep_free=keep_free, free=free) is wanted


@pytest.mark.parametrize(
    ("free", "keep_free", "was_low", "is_so"),
    [
        (99, 100, False, True),
        (100, 100, False, False),
        (109, 100, True, True),
        (21, 20, True, True),
        (22, 20, True, False),
        (111, 100, True, False),
        (49, 0, False, True),
        (50, 0, False, False),
        (54, 0, True, True),
        (56, 0, True, False),
        (0, 1, False, True),
        (1, 1, False, False),
    ],
)
def test_low_is_below_the_border_and_over_only_well_above_it(free, keep_free, was_low, is_so):
    assert is_low(free=free, total=1000, keep_free=keep_free, was_low=was_low) is is_so


def test_a_file_is_known_by_its_inode_and_its_content_by_length_and_time():
    one = Identity(1, 2, 3, 4, 5)

    assert one.is_same_file(Identity(1, 2, 9, 9, 9))
    assert not one.is_same_file(Identity(9, 2, 3, 4, 5))
    assert not one.is_same_file(Identity(1, 9, 3, 4, 5))
    assert one.is_same_content(Identity(9, 9, 3, 4, 9))
    assert not one.is_same_content(Identity(1, 2, 9, 4, 5))
    assert not one.is_same_content(Identity(1, 2, 3, 9, 5))


@pytest.mark.parametrize(
    ("keep_free", "free", "age_s", "wanted"),
    [
        (0, 5, 99.0, FOR_NOW),
        (0, 0, 99.0, FOR_NOW),
        (0, 5, 100.0, DELETE),
        (10, 5, 0.0, DELETE),
        (10, 10, 99.0, FOR_NOW),
        (10, None, 99.0, FOR_NOW),
        (10, 20, 100.0, DELETE),
    ],
)
def test_it_goes_by_age_or_by_room_whichever_comes_first(keep_free, free, age_s, wanted):
    found = verdict(
        deletes=True, is_ours=True, keep_free=keep_free, free=free, keep_s=100.0, age_s=age_s
    )

    assert found is wanted

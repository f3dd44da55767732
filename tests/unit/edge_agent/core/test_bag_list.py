"""What a bag's own list says, and what one that is damaged or hostile cannot say."""

from __future__ import annotations

import pytest

from edge_agent.core.bag_list import listed_files

HEAD = b"rosbag2_bagfile_information:\n  version: 9\n  relative_file_paths:\n"


def entries(*names: bytes) -> bytes:
    return (
        HEAD + b"".join(b"    - " + name + b"\n" for name in names) + b"  files:\n    - path: x\n"
    )


def test_the_names_of_the_list_are_read_and_nothing_below_it():
    assert listed_files(entries(b"run_0.mcap", b"'run_1.mcap'", b'"run_2.mcap"')) == [
        "run_0.mcap",
        "run_1.mcap",
        "run_2.mcap",
    ]


@pytest.mark.parametrize("text", [b"", b"relative_file_paths: []\n", HEAD, b"\0" * 5000])
def test_what_has_no_list_lists_nothing(text):
    assert listed_files(text) is None


@pytest.mark.parametrize("name", [b".", b"..", b"/", b"x" * 256, b"a\0b", b"''"])
def test_what_no_file_can_be_called_is_no_file_of_the_bag(name):
    assert listed_files(entries(b"run_0.mcap", name, b"run_1.mcap")) == ["run_0.mcap", "run_1.mcap"]


@pytest.mark.parametrize("name", [b"../../etc/run_0.mcap", b"/srv/run_0.mcap"])
def test_a_path_out_of_the_bag_is_a_name_in_it(name):
    assert listed_files(entries(name)) == ["run_0.mcap"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"100%_0.mcap", "100%25_0.mcap"),
        (b"\xff_0.mcap", "%FF_0.mcap"),
        ("a\u2028b_0.mcap".encode(), "a%E2%80%A8b_0.mcap"),
    ],
)
def test_a_name_is_the_one_by_which_its_recording_is_known(name, told):
    assert listed_files(entries(name)) == [told]


def test_no_more_names_are_read_than_a_group_can_have():
    assert (
        len(listed_files(entries(*(b"run_%d.mcap" % one for one in range(20_000)))) or []) == 1000
    )

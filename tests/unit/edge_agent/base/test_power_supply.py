"""What lies in /sys/class/power_supply, as drivers write it."""

import pytest

from edge_agent.base.power_supply import look
from edge_agent.core.power import Supply


def put(folder, name, **files):
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"type": "Mains", "online": 1}, Supply(False, True)),
        ({"type": "USB", "online": 0}, Supply(False, False)),
        ({"type": "Wireless", "online": 2}, Supply(False, True)),
        ({"type": "USB"}, Supply(False)),
        (
            {"type": "Battery", "status": "Full", "capacity": 100, "present": 1},
            Supply(True, None, "Full", 100),
        ),
        ({"type": "UPS", "capacity": 7, "charge_full": 50}, Supply(True, percent=7, full=50)),
        ({"type": "Battery", "capacity": 255, "energy_full": 0}, Supply(True)),
        ({"type": "Battery", "capacity": -1, "status": "x" * 999}, Supply(True, status="x" * 256)),
        ({"type": "Battery", "capacity": "many"}, Supply(True)),
        ({"type": "Battery", "present": 0, "capacity": 0}, None),
        ({"type": "Battery", "scope": "Device", "capacity": 1}, None),
        ({}, None),
    ],
)
def test_a_supply_is_what_can_be_believed_of_it(tmp_path, files, found):
    put(tmp_path, "one", **files)

    assert look(tmp_path) == (() if found is None else (found,))


def test_a_device_without_supplies_has_none(tmp_path):
    assert look(tmp_path / "power_supply") == ()


def test_a_file_that_cannot_be_read_says_nothing(tmp_path):
    put(tmp_path, "BAT0", type="Battery", status="Charging")
    (tmp_path / "BAT0" / "capacity").mkdir()
    (tmp_path / "AC").symlink_to("nowhere")

    assert look(tmp_path) == (Supply(True, status="Charging"),)


@pytest.mark.parametrize(
    ("second", "weights"),
    [({"energy_full": 90}, [10, 90]), ({"charge_full": 90}, [None, None]), ({}, [10, None])],
)
def test_batteries_are_weighed_by_what_they_hold_where_all_say_it_in_one_unit(
    tmp_path, second, weights
):
    put(tmp_path, "BAT0", type="Battery", capacity=0, energy_full=10)
    put(tmp_path, "BAT1", type="Battery", capacity=100, **second)

    assert [one.full for one in look(tmp_path)] == weights

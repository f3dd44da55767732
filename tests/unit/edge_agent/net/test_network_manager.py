"""What NetworkManager and ModemManager say of links, true, odd and hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.base import busctl
from edge_agent.core.link_rule import LinkFacts
from edge_agent.net import network_manager
from edge_agent.net.network_manager import SilentError, facts_of

DEVICE = "org.freedesktop.NetworkManager.Device"
POINT = "org.freedesktop.NetworkManager.AccessPoint"
MODEM = "org.freedesktop.ModemManager1.Modem.Modem3gpp"


def wlan(ssid=tuple(b"Hangar"), **more):
    return {
        "/d": {
            DEVICE: {"IpInterface": "wlan0", "DeviceType": 2, **more},
            f"{DEVICE}.Wireless": {"ActiveAccessPoint": "/p"},
        },
        "/p": {POINT: {"Ssid": list(ssid)}},
    }


def wwan(**more):
    about = {"Interface": "cdc-wdm0", "IpInterface": "wwan0", "DeviceType": 8, "Udi": "/m"}
    return {"/d": {DEVICE: {**about, **more}}}


@pytest.mark.parametrize(
    ("said", "is_metered"), [(0, None), (1, True), (2, False), (3, True), (4, False), (9, None)]
)
def test_metered_is_what_it_says_or_guesses(said, is_metered):
    assert facts_of(wlan(Metered=said), {})["wlan0"].is_metered is is_metered


@pytest.mark.parametrize(
    ("state", "is_roaming"),
    [(1, False), (5, True), (7, True), (10, True), (9, False), (2, None), (0, None), ("5", None)],
)
def test_a_modem_roams_as_it_is_registered_and_has_the_name_of_its_packets(state, is_roaming):
    found = facts_of(wwan(), {"/m": {MODEM: {"RegistrationState": state}}})

    assert list(found) == ["wwan0"]
    assert found["wwan0"].is_roaming is is_roaming


@pytest.mark.parametrize("path", [["/m"], {"/m": 1}, 7])
def test_a_modem_whose_path_is_nonsense_takes_no_other_link_with_it(path):
    modem = wwan()
    modem["/d"][DEVICE]["Udi"] = path

    assert facts_of(modem, {"/m": {MODEM: {"RegistrationState": 5}}})["wwan0"].is_roaming is None


def test_without_modem_manager_only_roaming_is_not_known_and_it_says_why():
    found = facts_of({**wlan(Metered=1), "/e": wwan(Metered=3)["/d"]}, {}, "ModemManager hangs")

    assert found["wwan0"] == LinkFacts("", True, None, "ModemManager hangs")
    assert found["wlan0"] == LinkFacts("Hangar", True, False, "NetworkManager does not know")


@pytest.mark.parametrize(
    ("ssid", "heard"),
    [
        (b"Hangar", "Hangar"),
        ("Grüße".encode(), "Grüße"),
        (b"\xff\xfe|*\n", "\ufffd\ufffd|*\n"),
        (b"x" * 33, None),
        (b"", ""),
    ],
)
def test_a_network_may_be_called_whatever_it_likes(ssid, heard):
    assert facts_of(wlan(ssid), {})["wlan0"].ssid == heard


def test_an_interface_that_is_in_no_wireless_network_is_known_to_be_in_none():
    away = wlan()
    away["/d"][f"{DEVICE}.Wireless"]["ActiveAccessPoint"] = "/"

    assert facts_of(away, {})["wlan0"].ssid == ""
    assert facts_of(wwan(), {})["wwan0"].ssid == ""


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([DEVICE, f"{DEVICE}.Wireless", POINT, MODEM, "/d", "/p", "Ssid", "Udi"])
            | st.sampled_from(["IpInterface", "DeviceType", "Metered", "ActiveAccessPoint"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["/d", "/p", "/m"]), ODD), ODD)
def test_whatever_it_says_is_an_answer_or_unknown_and_never_an_error(objects, modems):
    for facts in facts_of(objects, modems if isinstance(modems, dict) else {}).values():
        assert facts.is_metered in {True, False, None}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "NetworkManager does not answer"),
        ("echo nonsense", "NetworkManager answers what is none of its answers"),
        ("echo '{\"data\": [7]}'", "NetworkManager answers what is none of its answers"),
        ("yes '[' | head -c 300000 | tr -d '\\n'", "answers what is none of its answers"),
        ("exec cat /dev/zero", "NetworkManager does not answer"),
        ("exec sleep 30", "NetworkManager does not answer"),
        (None, "NetworkManager cannot be asked: busctl (systemd) is not installed"),
    ],
)
def test_who_does_not_answer_is_said_in_a_sentence(script, said, tmp_path, monkeypatch):
    if script is not None:
        program = tmp_path / "busctl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(busctl, "_KILLED_S", 0.3)

    with pytest.raises(SilentError, match=said.replace("(", r"\(").replace(")", r"\)")):
        network_manager.look()

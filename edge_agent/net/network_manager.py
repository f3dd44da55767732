"""What NetworkManager and ModemManager say of links: wireless network, metered, roaming.

They are asked over D-Bus (`base.busctl`), and never started by that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.base import busctl
from edge_agent.core.link_rule import LinkFacts

_MANAGER, _DEVICES = "org.freedesktop.NetworkManager", "/org/freedesktop"
_DEVICE, _WIRELESS, _ACCESS_POINT = (
    f"{_MANAGER}.{one}" for one in ("Device", "Device.Wireless", "AccessPoint")
)
_MODEMS, _MODEMS_PATH = "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1"
_MODEM = f"{_MODEMS}.Modem.Modem3gpp"

_WIFI, _MODEM_KIND = 2, 8
_METERED = {1: True, 2: False, 3: True, 4: False}
"""Yes, no, and what it guesses; 0: it does not know."""
_HOME, _ROAMING = frozenset({1, 6, 9}), frozenset({5, 7, 10})
"""Registration of a modem: in its own network, in a foreign one; anything else: in none, or not known."""

UNKNOWN_THERE = "NetworkManager does not know this interface"

Objects = Mapping[str, Any]


class SilentError(Exception):
    """Nobody answers, or not what was asked; the text says who, and what it said."""


def look() -> dict[str, LinkFacts]:
    """Return what is known of each interface that NetworkManager looks after.

    Raises:
        SilentError: it does not answer; without ModemManager only roaming is not known.
    """
    objects = _ask(_MANAGER, _DEVICES)
    modems: Objects = {}
    silence = ""
    devices = [one[_DEVICE] for one in _with(objects, _DEVICE)]
    if any(one.get("DeviceType") == _MODEM_KIND for one in devices):
        try:
            modems = _ask(_MODEMS, _MODEMS_PATH)
        except SilentError as error:
            silence = str(error)
    return facts_of(objects, modems, silence)


def facts_of(objects: Objects, modems: Objects, silence: str = "") -> dict[str, LinkFacts]:
    """Return what *objects* of NetworkManager and *modems* of ModemManager say, of each interface.

    Args:
        silence: why there are no modems.
    """
    found = {}
    for one in _with(objects, _DEVICE):
        device = one[_DEVICE]
        name = device.get("IpInterface") or device.get("Interface")
        is_modem = _number(device.get("DeviceType")) == _MODEM_KIND
        if isinstance(name, str) and name:
            found[name] = LinkFacts(
                ssid=_ssid(one, objects),
                is_metered=_METERED.get(_number(device.get("Metered"))),
                is_roaming=_is_roaming(device, modems),
                why_unknown=(is_modem and silence) or "NetworkManager does not know",
            )
    return found


def _ssid(device: Objects, objects: Objects) -> str | None:
    if _number(device[_DEVICE].get("DeviceType")) != _WIFI:
        return ""
    wireless = device.get(_WIRELESS)
    path = wireless.get("ActiveAccessPoint") if isinstance(wireless, dict) else None
    if path == "/":
        return ""
    point = objects.get(path) if isinstance(path, str) else None
    about = point.get(_ACCESS_POINT) if isinstance(point, dict) else None
    octets = about.get("Ssid") if isinstance(about, dict) else None
    try:
        # Whatever comes over the air: no more than the standard has, and never an error.
        return bytes(octets or ()).decode("utf-8", "replace") if len(octets or ()) <= 32 else None
    except (TypeError, ValueError):
        return None


def _is_roaming(device: Objects, modems: Objects) -> bool | None:
    if _number(device.get("DeviceType")) != _MODEM_KIND:
        return False
    path = device.get("Udi")
    modem = modems.get(path) if isinstance(path, str) else None
    about = modem.get(_MODEM) if isinstance(modem, dict) else None
    state = _number(about.get("RegistrationState")) if isinstance(about, dict) else -1
    return True if state in _ROAMING else False if state in _HOME else None


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _with(objects: Objects, interface: str) -> Iterator[Objects]:
    for one in objects.values():
        if isinstance(one, dict) and isinstance(one.get(interface), dict):
            yield one


def _ask(service: str, path: str) -> Objects:
    """Return all objects of *service* with their properties."""
    name = service.rpartition(".")[2].rstrip("1")
    call = [service, path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"]
    try:
        said = busctl.ask(["--auto-start=no", "call", *call])
    except FileNotFoundError:
        raise SilentError(f"{name} cannot be asked: busctl (systemd) is not installed") from None
    if said is None:
        raise SilentError(f"{name} does not answer")
    try:
        data = json.loads(said)["data"][0]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise SilentError(f"{name} answers what is none of its answers") from None
    if not isinstance(data, dict):
        raise SilentError(f"{name} answers what is none of its answers")
    return {one: _plain(interfaces) for one, interfaces in data.items()}


def _plain(interfaces: object) -> dict[str, Any]:
    """Return the interfaces of an object with their properties, without the types of D-Bus."""
    if not isinstance(interfaces, dict):
        return {}
    return {
        name: {
            key: value.get("data") if isinstance(value, dict) else None
            for key, value in properties.items()
        }
        for name, properties in interfaces.items()
        if isinstance(properties, dict)
    }

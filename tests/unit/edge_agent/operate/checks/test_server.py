"""What is said of the way to the server, without asking it."""

from edge_agent.base import ciphers
from edge_agent.base.settings import AgentSettings
from edge_agent.operate.checks.server import check_cipher, check_proxy


def settings(**tables):
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://127.0.0.1:1"}}
    return AgentSettings.model_validate(base | tables)


def test_a_proxy_over_tls_is_named_for_what_it_costs():
    over_tls = {"server": {"url": "https://s.example", "proxy": "https://p.example:3128"}}
    plain = {"server": {"url": "https://s.example", "proxy": "http://p.example:3128"}}

    [found] = check_proxy(settings(**over_tls))

    assert found.level == "WARN"
    assert "http:// proxy" in found.text
    assert list(check_proxy(settings(**plain))) == []


def test_a_board_without_aes_is_told_what_to_do_about_its_ciphers(monkeypatch):
    monkeypatch.setattr(ciphers, "has_aes", lambda: False)
    monkeypatch.setattr(ciphers, "prefers_chacha", lambda: False)

    [found] = check_cipher("https://s.example")

    assert "docs/install-device.md" in found.text
    assert list(check_cipher("http://s.example")) == []

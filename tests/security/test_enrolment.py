"""The device's side of tokens: the first one claimed, the next one on disk before it is used."""

import stat

import pytest
from structlog.testing import capture_logs

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import AgentError, UnauthorizedError
from edge_agent.base.settings import AgentSettings
from edge_agent.send.enrolment import Enrolment, rotate, serial_number, write_token
from edge_agent.send.wiring import make_transport
from ingest_server.auth.tokens import claim_hash, new_claim
from ingest_server.storage.interface import ClaimRecord
from tests.support.secured import secured

PAST, FAR = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path / "server") as found:
        yield found


class Device:
    def __init__(self, site, folder):
        folder.mkdir()
        self.token_file = folder / "token"
        (folder / "claim").write_text(self._claim_token(site))
        server = {
            "url": site.server.url,
            "token_file": self.token_file,
            "claim_token_file": folder / "claim",
        }
        self.settings = AgentSettings(device_id="drone-1", watch={"folder": "/m"}, server=server)
        self.told: list[object] = []
        self.enrolment = Enrolment(
            self.settings,
            lambda: self.transport(with_token=False),
            jitter=lambda: 0.5,
            on_token=lambda: self.told.append(self.token_file.read_text()),
        )

    @staticmethod
    def _claim_token(site):
        token, claim_id = new_claim()
        claim = ClaimRecord(claim_id, PAST, FAR, 1, 0, None)
        site.state.access.add_claim(claim, claim_hash(token))
        return token

    def transport(self, **more):
        return make_transport(self.settings, SystemClock(), **more)

    def asks(self):
        with self.transport() as transport:
            return transport.probe("n" * 16).device


@pytest.fixture
def device(site, tmp_path):
    return Device(site, tmp_path / "device")


def test_a_device_without_a_token_claims_one_and_claims_no_second(device):
    device.enrolment.step(0.0)
    first = device.token_file.read_text()
    device.enrolment.step(0.0)

    assert device.asks() == "drone-1"
    assert device.token_file.read_text() == first
    assert device.told == [first]
    assert stat.S_IMODE(device.token_file.stat().st_mode) == 0o600
    assert {entry.name for entry in device.token_file.parent.iterdir()} == {"token", "claim"}


def test_a_claim_whose_answer_was_lost_is_repeated(device):
    device.enrolment.step(0.0)
    device.token_file.unlink()  # as if it never came

    device.enrolment.step(0.0)

    assert device.asks() == "drone-1"


def test_a_device_that_had_its_token_is_told_what_to_do_and_nothing_is_written(device):
    device.enrolment.step(0.0)
    assert device.asks() == "drone-1"
    device.token_file.unlink()

    with capture_logs() as lines:
        waits = [device.enrolment.step(0.0) for _ in range(3)]

    told = [line for line in lines if line["event"] == "token.not_claimed"]
    assert not device.token_file.exists()
    assert len(told) == 1  # once, not at each try
    assert "device-claimed" in told[0]["error"]
    assert all(wait_s >= 1 for wait_s in waits)


def test_a_claim_waits_for_the_link(site, device):
    url = {"url": "http://127.0.0.1:1"}
    server = device.settings.server
    device.settings = device.settings.model_copy(update={"server": server.model_copy(update=url)})

    assert device.enrolment.step(0.0) < 10

    device.settings = device.settings.model_copy(update={"server": server})
    device.enrolment.step(0.0)

    assert device.asks() == "drone-1"


def test_a_rotated_token_is_in_the_file_and_the_old_one_is_void(site, device):
    device.enrolment.step(0.0)
    old = device.token_file.read_text().strip()

    with device.transport() as transport:
        rotate(device.settings, transport)

    new = device.token_file.read_text().strip()
    assert device.asks() == "drone-1"
    assert new != old
    assert site.client(old).get("/v1").status_code == 401


def test_a_new_token_that_cannot_be_written_leaves_the_old_one_good(device):
    device.enrolment.step(0.0)
    elsewhere = device.settings.server.model_copy(
        update={"token_file": device.token_file.parent / "absent" / "token"}
    )
    broken = device.settings.model_copy(update={"server": elsewhere})

    with device.transport() as transport, pytest.raises(AgentError, match="the old token stays"):
        rotate(broken, transport)

    assert device.asks() == "drone-1"


def test_a_credential_of_systemd_is_not_ours_to_write(device, tmp_path, monkeypatch):
    device.enrolment.step(0.0)
    (tmp_path / "device-token").write_text(device.token_file.read_text())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    with device.transport() as transport, pytest.raises(AgentError, match="systemd's credential"):
        rotate(device.settings, transport)


def test_a_wrong_claim_token_is_a_matter_of_the_login(device):
    with device.transport(with_token=False) as transport, pytest.raises(UnauthorizedError):
        transport.claim("edc_00000000_" + "x" * 43, "drone-1", "1")


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "token").write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_token(tmp_path / "token", "\N{SNOWMAN}")

    assert (tmp_path / "token").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


def test_the_serial_number_is_the_boards_and_else_the_installations(tmp_path):
    (tmp_path / "board").write_bytes(b"100000003d1c2f\0")
    (tmp_path / "machine-id").write_text("abc\n")
    (tmp_path / "empty").write_text("")

    assert serial_number((tmp_path / "board", tmp_path / "machine-id")) == "100000003d1c2f"
    assert serial_number((tmp_path / "empty", tmp_path / "machine-id")) == "abc"
    assert serial_number((tmp_path / "absent",)) == "unknown"

"""The dashboard that is handed out, on a real server's figures in a real Prometheus."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from demo.ports import LOOPBACK, free_port
from tests.support.fleet import report, state
from tests.support.processes import Server, wait_for
from tests.support.prometheus import DEPLOYED, Prometheus, exposed_names, metric_names
from tests.support.requirements import unpack_package

FOLDER = DEPLOYED.parent / "grafana"
DASHBOARD = FOLDER / "dashboards" / "edge-uploader.json"
BOARD = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    (f"{panel['title']} {one['refId']}", one["expr"])
    for panel in PANELS
    for one in panel["targets"]
]
RULES = [
    (rule["alert"], rule["expr"])
    for group in yaml.safe_load((DEPLOYED / "ingest.rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
LOSES_NOTHING = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

def lost(given, kept, where=""):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key in given:
            yield from lost(given[key], kept[key], f"{where}/{key}") if key in kept else [f"{where}/{key}"]
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, pair in enumerate(zip(given, kept)):
            yield from lost(*pair, f"{where}/{number}")
    elif given != kept:
        yield where

register_default_plugins()
given = json.load(open(sys.argv[1]))
kept = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
print(json.dumps([*lost(given, kept)]))
"""


class Watched:
    """A server that took an upload, refused another and heard a device, and who watches it."""

    def __init__(self, folder: Path) -> None:
        self.metrics = f"{LOOPBACK}:{free_port()}"
        self.server = Server(folder / "server", metrics={"listen": self.metrics})
        self.prometheus = Prometheus(folder / "prometheus", self.metrics)

    def start(self) -> None:
        self.server.start()
        headers = {"Authorization": f"Bearer {self.server.new_token()}"}
        url = f"http://{LOOPBACK}:{self.server.port}/v1"
        with httpx.Client(headers=headers) as device:
            assert _upload(device, url, b"a recording", b"a recording") == 200
            assert _upload(device, url, b"what arrived", b"what was meant") == 409
            queue = {"files": 2, "bytes": 9000, "oldest_age_s": 60, "failed": 1}
            told = report(state=state(queue=queue))
            assert device.post(f"{url}/report", json=told).status_code == 200
        self.prometheus.start()

    def close(self) -> None:
        self.prometheus.close()
        self.server.close()

    def scrape(self) -> str:
        return httpx.get(f"http://{self.metrics}/metrics").text


def _upload(device: httpx.Client, url: str, sent: bytes, meant: bytes) -> int:
    key = hashlib.sha256(meant).hexdigest()[:16]
    made = device.post(
        f"{url}/uploads",
        json={"name": "clip.mp4", "length": len(sent)},
        headers={"Idempotency-Key": key},
    ).json()
    where = f"{url}/uploads/{made['id']}"
    span = {"Content-Range": f"bytes 0-{len(sent) - 1}/{len(sent)}"}
    assert device.put(f"{where}/content", content=sent, headers=span).status_code == 200
    digest = base64.b64encode(hashlib.sha256(meant).digest()).decode()
    document = {"length": len(sent), "digest": f"sha-256=:{digest}:"}
    return device.post(f"{where}/complete", json=document).status_code


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("watched"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_every_figure_in_a_panel_or_a_rule_is_one_that_the_server_has(watched):
    exposed = exposed_names(watched.scrape())

    unknown = {name: metric_names(text) - exposed for name, text in EXPRESSIONS + RULES}

    assert {name: names for name, names in unknown.items() if names} == {}


@pytest.mark.slow
def test_no_panel_is_empty_once_a_device_was_there(watched):
    def empty() -> list[str]:
        asked = {
            name: text.replace("$instance", ".*").replace("$__rate_interval", "10s")
            for name, text in EXPRESSIONS
        }
        return [name for name, text in asked.items() if not watched.prometheus.series(text)]

    wait_for(lambda: not empty(), "every panel has something to show")


@pytest.mark.slow
def test_the_figures_are_those_of_the_device_that_reported(watched):
    def value(expression: str) -> str:
        [found] = wait_for(lambda: watched.prometheus.series(expression), "it was scraped")
        return found["value"][1]

    assert value("ingest_fleet_failed_files") == "1"
    assert value("ingest_fleet_pending_bytes") == "9000"
    assert value('sum by (presence) (ingest_fleet_devices{presence!="never"} > 0)') == "1"


@pytest.mark.slow
def test_a_running_prometheus_takes_the_rules_and_sees_what_failed(watched):
    def found() -> dict[str, dict[str, str]]:
        groups = watched.prometheus.ask("rules")["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        return rules if all(rule["health"] == "ok" for rule in rules.values()) else {}

    rules = wait_for(found, "all rules were evaluated")

    assert rules.keys() == dict(RULES).keys()
    failed = 'ALERTS{alertname="IngestRecordingsFailed", alertstate="pending"}'
    wait_for(lambda: watched.prometheus.series(failed), "what failed is seen")


@pytest.mark.slow
def test_the_dashboard_holds_nothing_that_grafana_s_schema_does_not_know(tmp_path):
    # Grafana itself is in no registry: its own models of a dashboard are.
    models = unpack_package(tmp_path / "sdk", "grafana-foundation-sdk==1769699998!10.1.0")
    done = subprocess.run(
        [sys.executable, "-c", LOSES_NOTHING, DASHBOARD],
        env={**os.environ, "PYTHONPATH": str(models)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_dashboard_reads_the_source_that_is_provisioned_with_it():
    provisioned = yaml.safe_load(
        (FOLDER / "provisioning" / "datasources" / "edge-uploader.yml").read_text()
    )["datasources"]
    variable = BOARD["templating"]["list"][0]

    assert [one["uid"] for one in provisioned] == [variable["current"]["value"]]
    sources = {one["datasource"]["uid"] for panel in PANELS for one in (panel, *panel["targets"])}
    assert sources == {f"${{{variable['name']}}}"}


def test_panels_have_their_own_place_and_number():
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    numbers = [panel["id"] for panel in BOARD["panels"]]

    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert len(set(numbers)) == len(numbers)

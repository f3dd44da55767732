"""What deploy/ has for several servers: its parts name each other, and a stop has the time that it needs."""

import re
from pathlib import Path

import pytest
import yaml

from ingest_server.config import load

DEPLOY = Path(__file__).parents[3] / "deploy"
BALANCER = (DEPLOY / "replicas/haproxy.cfg").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "replicas/compose.yaml").read_text())
KINDS = {
    one["kind"]: one
    for one in yaml.safe_load_all((DEPLOY / "kubernetes/ingest-server.yaml").read_text())
}
POD = KINDS["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def in_kubernetes(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text(KINDS["ConfigMap"]["data"]["server.toml"])
    return load(path, environ={}, listen=None, data_dir=None)


@pytest.fixture
def in_compose():
    return load(DEPLOY / "replicas/server.toml", environ={}, listen=None, data_dir=None)


def test_the_servers_of_compose_are_those_that_its_balancer_knows(in_compose):
    servers = {name for name in COMPOSE["services"] if name.startswith("server-")}

    assert set(re.findall(r"^    server \w+ ([\w-]+):8080$", BALANCER, re.MULTILINE)) == servers
    assert "@database/" in in_compose.storage.state
    assert in_compose.storage.endpoint == "http://store:8333"
    assert {"database", "store"} < set(COMPOSE["services"])


def test_a_server_of_compose_writes_into_a_volume_of_its_image(in_compose):
    image = (DEPLOY / "replicas/Containerfile").read_text()

    assert re.findall(r"^VOLUME (.+)$", image, re.MULTILINE) == [str(in_compose.server.data_dir)]
    for name, one in COMPOSE["services"].items():
        if name.startswith("server-"):
            assert one["read_only"]
            # A tmpfs over it would be root's: podman knows no uid= for one.
            assert one["tmpfs"] == ["/tmp"]


def test_a_server_of_compose_is_taken_away_before_it_ends_and_ends_before_it_is_killed(in_compose):
    server = in_compose.server
    [(every_s, misses)] = re.findall(r"check inter (\d+)s .* fall (\d+) ", BALANCER)
    [grace_s] = {
        int(one["stop_grace_period"].removesuffix("s"))
        for name, one in COMPOSE["services"].items()
        if name.startswith("server-")
    }

    assert server.drain_s > int(every_s) * (int(misses) + 1)
    assert server.drain_s + server.stop_timeout_s < grace_s


def test_a_pod_is_taken_away_before_it_ends_and_ends_before_it_is_killed(in_kubernetes):
    server = in_kubernetes.server
    [container] = POD["containers"]
    probe = container["readinessProbe"]

    assert probe["httpGet"]["path"] == "/readyz"
    assert server.drain_s > probe["periodSeconds"] * (probe["failureThreshold"] + 1)
    assert server.drain_s + server.stop_timeout_s < POD["terminationGracePeriodSeconds"]
    assert KINDS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_what_a_pod_may_do_is_what_a_server_needs(in_kubernetes):
    [container] = POD["containers"]
    written = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}

    assert str(in_kubernetes.server.data_dir) in written
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["securityContext"]["runAsNonRoot"]

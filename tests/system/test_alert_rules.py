"""The alert rules that are handed out, in the hands of Prometheus' own tool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.requirements import require

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = yaml.safe_load((FOLDER / "ingest.rules.yml").read_text())
PLAYED = yaml.safe_load((FOLDER / "ingest.test.yml").read_text())["tests"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        [require("promtool"), *arguments],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_prometheus_takes_the_configuration_and_its_rules():
    assert f"{len(ALERTS)} rules found" in promtool("check", "config", "prometheus.yml")
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "ingest.rules.yml")


@pytest.mark.slow
def test_each_alert_comes_of_its_own_trouble_and_of_nothing_else():
    assert "SUCCESS" in promtool("test", "rules", "ingest.test.yml")


def test_the_play_has_every_alert_and_a_moment_without_any():
    expected = [played for one in PLAYED for played in one["promql_expr_test"]]
    firing = {
        sample["labels"].split('"')[1] for played in expected for sample in played["exp_samples"]
    }

    assert firing == ALERTS.keys()
    assert any(not played["exp_samples"] for played in expected)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_happened_what_it_means_and_what_to_do(name):
    rule = ALERTS[name]

    assert rule["annotations"].keys() == {"summary", "description", "action"}
    assert all(text.strip()[-1] in ".?" for text in rule["annotations"].values())
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_page_names_every_alert():
    page = (FOLDER.parents[1] / "docs" / "metrics.md").read_text()

    assert [name for name in ALERTS if name not in page] == []

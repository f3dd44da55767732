"""Names of metrics are found in what PromQL people write."""

import pytest

from tests.support.prometheus import exposed_names, metric_names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("ingest_a", {"ingest_a"}),
        (
            'sum by (le, op) (rate(ingest_a_bucket{op=~"sync|by (x)", b!=""}[5m]))',
            {"ingest_a_bucket"},
        ),
        ("ingest_a > 24 * 3600 or vector(0)", {"ingest_a"}),
        ("ingest_a unless ingest_b offset 15m", {"ingest_a", "ingest_b"}),
        (
            "ingest_a and ignoring (state) increase(ingest_b[$__rate_interval]) == 0",
            {"ingest_a", "ingest_b"},
        ),
        (
            'label_replace(ingest_a, "to", "$1", "from", "(.*)") / on (x) group_left (y) ingest_b',
            {"ingest_a", "ingest_b"},
        ),
        ('up{job="ingest"} == 0 or absent(up{job="ingest"})', set()),
    ],
)
def test_the_names_in_an_expression_are_its_metrics(expression, names):
    assert metric_names(expression) == names


def test_a_scrape_has_the_names_of_what_was_never_counted_too():
    text = "# TYPE a_total counter\n# TYPE b histogram\n# TYPE c gauge\nc 1.0\n"

    assert {"a_total", "b_bucket", "b_sum", "b_count", "c"} <= exposed_names(text)

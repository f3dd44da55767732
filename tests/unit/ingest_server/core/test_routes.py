"""Which rule an upload follows."""

import pytest

from ingest_server.core.record import UploadRecord
from ingest_server.core.routes import Route, overlap, route_of, within

NOBODY: frozenset[str] = frozenset()


def upload(**members):
    given = {"device": "drone-1", "name": "a.mp4", "folder": "", "metadata": {}, **members}
    return UploadRecord(id="u", key="k", created_at="2026-11-29T00:00:00Z", **given)


def goes(*rules, groups=NOBODY, **members):
    return route_of(
        [Route(begins=f"way-{n}", **one) for n, one in enumerate(rules)], upload(**members), groups
    )


@pytest.mark.parametrize(
    ("rule", "members"),
    [
        ({"devices": "cam-*|drone-?"}, {}),
        ({"folders": "survey/*"}, {"folder": "survey/dam/north"}),
        ({"metadata": {"project": "dam"}}, {"metadata": {"project": "dam", "pilot": "kim"}}),
        ({"devices": "drone-*", "folders": "s*"}, {"folder": "survey"}),
    ],
)
def test_a_rule_fits_where_all_that_it_names_does(rule, members):
    assert goes(rule, **members) == "way-0"


@pytest.mark.parametrize(
    ("rule", "members"),
    [
        ({"devices": "cam-*|drone-?"}, {"device": "drone-10"}),
        ({"devices": "DRONE-*"}, {}),
        ({"folders": "survey/*"}, {"folder": "survey"}),
        ({"metadata": {"project": "dam"}}, {}),
        ({"metadata": {"project": "d*"}}, {"metadata": {"project": "dam"}}),
        ({"metadata": {"project": "dam", "pilot": "kim"}}, {"metadata": {"project": "dam"}}),
        ({"devices": "drone-*", "folders": "s*"}, {"folder": "other"}),
        ({"group": "survey"}, {"metadata": {"group": "survey"}}),
    ],
)
def test_where_one_thing_that_it_names_differs_it_does_not(rule, members):
    assert goes(rule, **members) == ""


def test_the_first_rule_that_fits_counts_and_a_group_is_the_tokens():
    rules = ({"devices": "cam-*"}, {"group": "survey"}, {"devices": "*"})

    assert goes(*rules, groups=frozenset({"survey"})) == "way-1"
    assert goes(*rules) == "way-2"


def test_a_place_lies_in_another_by_whole_names_only():
    assert overlap(["s3://a/b", "s3://a/bc", "s3://c"]) is None
    assert overlap(["s3://a/b/c", "s3://c", "s3://a/b"]) == ("s3://a/b/c", "s3://a/b")
    assert overlap(["s3://a", "s3://" + "a"]) is not None
    assert within("s3://a/b", "s3://a/b/cam/x.mp4") == "cam/x.mp4"
    assert within("s3://a/b", "s3://a/bc/x.mp4") is None
